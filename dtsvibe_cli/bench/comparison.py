"""dtsvibe and the reference pipelines in turns, so that other load hits them all."""

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from dtsvibe_cli.bench.measured import WAYS, Measured
from dtsvibe_cli.bench.product import measure_product
from dtsvibe_cli.bench.reference import measure_reference
from dtsvibe_cli.bench.reference_networks import ReferenceName
from dtsvibe_cli.bench.worker import Worker

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """One way, device and renderer, and its runs."""

    way: str
    rounds: tuple[Measured, ...]

    @property
    def typical(self) -> Measured:
        """The run of median speed."""
        return sorted(self.rounds, key=lambda run: run.ms_per_frame)[len(self.rounds) // 2]

    @property
    def peak_memory_mib(self) -> float:
        """Of the first run, in a fresh process; later ones find what it left in the allocator."""
        return self.rounds[0].peak_memory_mib

    def ratios_to(self, other: "Contestant") -> list[float]:
        """How many times as fast as another, round by round."""
        return [
            theirs.ms_per_frame / ours.ms_per_frame
            for ours, theirs in zip(self.rounds, other.rounds, strict=True)
        ]

    def ratio_to(self, other: "Contestant") -> float:
        """How many times as fast as another: the median of the rounds."""
        return median(self.ratios_to(other))


def compare(
    clip: Path,
    folder: Path,
    *,
    devices: Sequence[str] = ("auto",),
    renderers: Sequence[str] = ("auto",),
    references: Sequence[ReferenceName] = ("vibe", "nano"),
    reference_frames: int = 8,
    rounds: int = 3,
    max_width_px: int = 1920,
    threads: int | None = None,
) -> list[Contestant]:
    """Time everything on one clip; dtsvibe's default device and renderer come first.

    Each contestant has a process of its own. A round lets every one of them run once; every other
    round goes backwards.

    Args:
        clip: The video.
        folder: For what they write.
        devices: dtsvibe and the references run on each.
        renderers: dtsvibe draws with each, on the first device.
        references: Which of them run.
        reference_frames: Frames of the clip that the references work on in each round.
        rounds: How often everything runs.
        max_width_px: Width of the written videos at most.
        threads: CPU threads of torch; None for dtsvibe's own choice, and for the references all
            that there are.

    Raises:
        DtsVibeError: What the runs raise.
    """
    turns: list[tuple[str, str, Callable[[Worker], Measured]]] = []
    for device in devices:
        for renderer in renderers if device == devices[0] else renderers[:1]:
            out = folder / f"{device.replace(':', '')}_{renderer}"
            product = partial(
                _product_turn,
                clip,
                out,
                device,
                renderer,
                max_width_px=max_width_px,
                threads=threads,
            )
            turns.append(("dtsvibe", f"dtsvibe on {device}, {renderer}", product))
        found = folder / f"{device.replace(':', '')}_{renderers[0]}" / f"{clip.stem}_smpl.npz"
        for name in references:
            reference = partial(
                _reference_turn, name, clip, found, folder, device,
                num_frames=reference_frames, max_width_px=max_width_px, threads=threads,
            )  # fmt: skip
            turns.append((name, f"{WAYS[name]} on {device}", reference))
    runs: list[list[Measured]] = [[] for _ in turns]
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker()) for _ in turns]
        for number in range(rounds):
            # the references need what dtsvibe finds in the first round
            order = range(len(turns)) if number % 2 == 0 else reversed(range(len(turns)))
            for index in order:
                _, label, turn = turns[index]
                runs[index].append(turn(workers[index]))
                _LOG.info(
                    "Round %d of %d, %s: %.1f ms a frame",
                    number + 1, rounds, label, runs[index][-1].ms_per_frame,
                )  # fmt: skip
    return [
        Contestant(way=way, rounds=tuple(own)) for (way, _, _), own in zip(turns, runs, strict=True)
    ]


def available_cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _product_turn(
    clip: Path,
    out: Path,
    device: str,
    renderer: str,
    worker: Worker,
    *,
    max_width_px: int,
    threads: int | None,
) -> Measured:
    return worker.run(
        measure_product,
        clip,
        out,
        device=device,
        renderer=renderer,
        max_width_px=max_width_px,
        threads=threads,
    )


def _reference_turn(
    name: ReferenceName,
    clip: Path,
    motion_file: Path,
    out: Path,
    device: str,
    worker: Worker,
    *,
    num_frames: int,
    max_width_px: int,
    threads: int | None,
) -> Measured:
    return worker.run(
        measure_reference,
        name,
        clip,
        motion_file,
        out,
        num_frames=num_frames,
        device=device,
        max_width_px=max_width_px,
        threads=threads or available_cores(),
    )
