"""How far the estimators of flow are off, on drawn people whose flow is exactly known.

    python tests/benchmarks/flow_accuracy.py [--pairs N] [--device NAME] [--raft FILE]

Prints a Markdown table of the mean end-point error, in pixels of crops of 128: over all pixels,
over those of the person, within 4 pixels of the person's outline, and where the flow is more than 6
pixels; then the same for the person after averaging to the network's 32 x 32 cells. The time is
that of one pair, against DIS as the program runs it, measured in the same run. The seeds are those
held out from tuning and training.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

from dtsvibe_cli.stages.flow import DisFlow, FlowEstimator, shrink_flow
from dtsvibe_cli.stages.raft_flow import RaftFlow
from dtsvibe_cli.stages.torch_flow import TorchFlow
from dtsvibe_cli.training.flow_pairs import HELD_OUT_FROM, FlowPair, make_pair

FAST_PX = 6
OUTLINE_PX = 4
NETWORK_SIDE = 32


class _Dis(DisFlow):
    """DIS with another preset than the program's, which is FAST."""

    def __init__(self, preset: int) -> None:
        super().__init__()
        self._dis = cv2.DISOpticalFlow.create(preset)


def _zero(before: np.ndarray, now: np.ndarray) -> np.ndarray:
    """No motion anywhere: what every estimator has to beat."""
    return np.zeros((len(now), 2, *now.shape[1:3]), np.float32)


def _near_outline(person: np.ndarray) -> np.ndarray:
    kernel = np.ones((2 * OUTLINE_PX - 1,) * 2, np.uint8)
    mask = person.astype(np.uint8)
    return cv2.dilate(mask, kernel) > cv2.erode(mask, kernel)


class _Truth:
    """All pairs stacked, and the masks over which errors are averaged."""

    def __init__(self, pairs: list[FlowPair]) -> None:
        self.before = np.stack([pair.before for pair in pairs])
        self.now = np.stack([pair.now for pair in pairs])
        self.flow = np.stack([pair.flow_px for pair in pairs])
        self.person = np.stack([pair.person for pair in pairs])
        self.masks = (
            np.ones_like(self.person),
            self.person,
            np.stack([_near_outline(pair.person) for pair in pairs]),
            np.linalg.norm(self.flow, axis=1) > FAST_PX,
        )
        cells = self.person.reshape(len(pairs), NETWORK_SIDE, -1, NETWORK_SIDE, 4).mean((2, 4))
        self.person_cells = cells > 0.5

    def errors(self, flow: np.ndarray) -> list[float]:
        """The five columns, pixels."""
        error = np.linalg.norm(flow - self.flow, axis=1)
        small = shrink_flow((flow - self.flow).astype(np.float32), NETWORK_SIDE)
        of_cells = np.linalg.norm(small, axis=1)[self.person_cells]
        return [float(error[mask].mean()) for mask in self.masks] + [float(of_cells.mean())]


def _measure(
    estimator: FlowEstimator | Callable[[np.ndarray, np.ndarray], np.ndarray], truth: _Truth
) -> tuple[list[float], float]:
    """Errors, and seconds a pair; one pair at a time, as the program asks for one person."""
    estimator(truth.before[:1], truth.now[:1])  # warm up
    started = time.perf_counter()
    flows = [
        estimator(truth.before[k : k + 1], truth.now[k : k + 1]) for k in range(len(truth.now))
    ]
    seconds = (time.perf_counter() - started) / len(flows)
    return truth.errors(np.concatenate(flows) * truth.now.shape[1]), seconds


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--raft", type=Path, action="append", default=[])
    arguments = parser.parse_args()
    truth = _Truth([make_pair(HELD_OUT_FROM + k) for k in range(arguments.pairs)])
    dis = {"ultrafast": 0, "fast (the program's)": 1, "medium": 2}
    estimators = {
        "no motion": _zero,
        **{f"DIS {name}": _Dis(preset) for name, preset in dis.items()},
        f"torch, {arguments.device}": TorchFlow(arguments.device),
        **{f"RAFT {path}": RaftFlow(path, arguments.device) for path in arguments.raft},
    }
    rows = {name: _measure(estimator, truth) for name, estimator in estimators.items()}
    unit = rows["DIS fast (the program's)"][1]
    lines = [
        f"{arguments.pairs} pairs, end-point error in pixels of 128",
        "",
        "| | all | person | outline | fast | person, 32 cells | time / DIS fast |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, (errors, seconds) in rows.items():
        cells = " | ".join(f"{error:.2f}" for error in errors)
        lines.append(f"| {name} | {cells} | {seconds / unit:.1f} |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
