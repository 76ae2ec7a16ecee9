"""One run of dtsvibe with the default options, timed."""

import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dtsvibe_cli import pipeline
from dtsvibe_cli.bench.measured import Measured, complete_stages
from dtsvibe_cli.bench.memory import PeakMemory
from dtsvibe_cli.datatypes import VideoMotion
from dtsvibe_cli.devices import choose_device
from dtsvibe_cli.errors import VideoError
from dtsvibe_cli.timing import StageTimes, recorded_stages

_MIB = 1024 * 1024


def measure_product(
    clip: Path,
    out: Path,
    *,
    device: str = "auto",
    renderer: str = "auto",
    max_width_px: int = 1920,
    threads: int | None = None,
) -> Measured:
    """Run :func:`dtsvibe_cli.pipeline.run` and keep what it wrote.

    On a GPU the stages are timed in a second run that waits after each of them.

    Args:
        clip: The video.
        out: Folder of the results.
        device: Where the networks run.
        renderer: What draws.
        max_width_px: Width of the overlay at most.
        threads: CPU threads of torch; None leaves them to the program.

    Raises:
        DtsVibeError: What the run raises; VideoError when nobody is in the clip.
    """
    device = choose_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    run = partial(
        pipeline.run, clip, out, overwrite=True, max_width_px=max_width_px,
        device=device, renderer=renderer,
    )  # fmt: skip
    on_cuda = device.startswith("cuda")
    if on_cuda:
        torch.cuda.reset_peak_memory_stats(device)
    with PeakMemory() as memory, recorded_stages() as stages:
        started_s, started_cpu_s = time.perf_counter(), time.process_time()
        result = run()
        seconds, cpu_seconds = time.perf_counter() - started_s, time.process_time() - started_cpu_s
    motion = result.motion
    if not motion.people:
        raise VideoError(f"Nobody was found in {clip}: give a clip with people in it.")
    total_s: float | None = seconds
    device_mib = None
    if on_cuda:
        device_mib = torch.cuda.max_memory_reserved(device) / _MIB
        stages, total_s = _synchronised(run, device), None
    return Measured(
        way="dtsvibe",
        device=device,
        renderer=result.report.renderer or renderer,
        num_frames=len(motion.time_s),
        people_per_frame=people_per_frame(motion).mean().item(),
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        stages=complete_stages(stages.wall_s, total_s),
        stages_cpu=complete_stages(stages.cpu_s),
        peak_memory_mib=memory.peak_mib,
        peak_device_memory_mib=device_mib,
    )


def people_per_frame(motion: VideoMotion) -> np.ndarray:
    """How many people are drawn in each frame."""
    counts = np.zeros(len(motion.time_s))
    for person in motion.people:
        counts[person.track.frame_index - motion.first_frame] += 1
    return counts


def _synchronised(run: Any, device: str) -> StageTimes:
    """The stages of another run, each with what the GPU does for it."""
    with recorded_stages(partial(torch.cuda.synchronize, device)) as stages:
        run()
    return stages
