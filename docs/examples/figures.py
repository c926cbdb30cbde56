"""Compare two strategies and draw figures of one's own choice, as in a notebook.

python docs/examples/figures.py [OUT]
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt

import analysis
import fedsim


def main(out: Path) -> None:
    """Run the comparison, print its table, save one picture."""
    small = {"rounds": 4, "population.edges": 80, "population.cell_size": 40, "train.epochs": 2}
    scenario = fedsim.load_scenario("quickstart", changes=small)
    runs = fedsim.compare(scenario, ["static", "diet"], out=out, jobs=1)
    print(analysis.compare(runs).markdown())

    _, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    analysis.accuracy(runs, ax=left)
    analysis.bandwidth_ecdf(runs, ax=right)
    plt.savefig(out / "figures.png")
    print(out / "figures.png")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs"))
