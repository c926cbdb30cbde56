"""One learned mask of frozen random weights for everybody, shipped once: `supermask`, `pemn`.

In Table 3 of Fu et al., DIET: Customized Slimming for Incompatible Networks in Sequential
Recommendation (KDD 2024, https://arxiv.org/abs/2406.08804), a mask is one bit a parameter
whatever it keeps (Param), and rows that keep nothing are skipped (FLOPs). The frozen weights
are not counted there, as every method shares them; here they are, in `shared_stored_bytes`.
"""

from __future__ import annotations

from fedsim.data.base import Streams
from fedsim.setting import Arrays
from strategies._mask_answers import MaskEdge, MaskStrategy
from strategies._masked import MaskedLearner, kept_scale, trained_mask


class GlobalMaskEdge(MaskEdge):
    """Ranks with the mask it was provisioned with, and asks for nothing."""

    asks = False


class GlobalMaskStrategy(MaskStrategy):
    """Learns one mask a channel by scores of which each layer's largest are kept.

    Edge-popup: Ramanujan, Wortsman, Kembhavi, Farhadi, Rastegari: What's Hidden in a Randomly
    Weighted Neural Network? CVPR 2020. https://arxiv.org/abs/1911.13299
    """

    edge = GlobalMaskEdge

    @property
    def personalises(self) -> bool:
        return False

    def trained(self, channel: int, streams: Streams) -> MaskedLearner:
        scale = kept_scale(self.config.keep, self.config.scale)
        return trained_mask(self.setting, channel, streams, self.frozen(), self.config.keep, scale)

    def initial(self, channel: int) -> Arrays:
        return {"mask": self.sample(channel)["mask"][:1]}
