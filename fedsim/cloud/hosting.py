"""Which node hosts which cell: settled once, when a run starts or resumes.

What a cell's edges keep lies in files of the node that hosts it, so a cell stays where it
is. A resumed run asks the nodes what they keep: a SuperNode that was started again has
another node id, but the same folder.
"""

from __future__ import annotations

from collections.abc import Sequence

from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid

from fedsim.arrays import config_of
from fedsim.engine.base_grid import BaseGrid
from fedsim.engine.flower_grid import FlowerGrid
from fedsim.engine.messages import error_of
from fedsim.errors import RunError


def host_cells(grid: Grid, cells: int, run: str, done: int) -> tuple[int, ...]:
    """Return the node of every cell, after `done` rounds of the run of this name.

    New cells go round the nodes in the order of their ids.

    Raises
    ------
    RunError
        There are too few nodes, or no node keeps a cell of a run that has begun.
    """
    if isinstance(grid, FlowerGrid):
        grid.wait_for_nodes()
    nodes = sorted(grid.get_node_ids())
    if not nodes:
        raise RunError("the grid has no nodes to host cells; start at least one SuperNode")
    if done < 1 or isinstance(grid, BaseGrid):
        return tuple(nodes[cell % len(nodes)] for cell in range(cells))
    keepers = _keepers(grid, nodes, cells, run, done)
    if lost := [cell for cell, found in enumerate(keepers) if not found]:
        raise RunError(
            f"no node keeps round {done} of cells {_shown(lost)} of run {run}; start the "
            "SuperNodes that hosted them, each with its own state folder, and set 'min-nodes' "
            "to their number"
        )
    return tuple(found[cell % len(found)] for cell, found in enumerate(keepers))


def _keepers(grid: Grid, nodes: Sequence[int], cells: int, run: str, done: int) -> list[list[int]]:
    """Ask every node which cells it keeps; return for every cell the nodes that do."""
    config = ConfigRecord({"run": run, "round": done})
    questions = [
        Message(RecordDict({"config": config}), node, MessageType.QUERY, group_id="resume")
        for node in nodes
    ]
    found: list[list[int]] = [[] for _ in range(cells)]
    for reply in grid.send_and_receive(questions):
        if reply.has_error():
            raise error_of(reply)
        for cell in config_of(reply.content)["cells"]:  # type: ignore[union-attr]
            if int(cell) < cells:
                found[int(cell)].append(reply.metadata.src_node_id)
    return [sorted(keepers) for keepers in found]


def _shown(numbers: list[int]) -> str:
    more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
    return ", ".join(map(str, numbers[:5])) + more
