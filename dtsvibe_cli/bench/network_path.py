"""The network path alone: from frames in memory, with people known, to SMPL parameters.

What video, detection, refinement and drawing cost is left out, so that this is what a GPU is for.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import torch

from dtsvibe_cli.bench.floor import Cost, floor_of_network_path
from dtsvibe_cli.bench.measured import complete_stages
from dtsvibe_cli.bench.utilisation import Utilisation
from dtsvibe_cli.datatypes import PinholeCamera
from dtsvibe_cli.devices import choose_device
from dtsvibe_cli.errors import VideoError
from dtsvibe_cli.geometry.cameras import choose_camera
from dtsvibe_cli.models.blazepose import BlazePoseLandmarks, load_blazepose
from dtsvibe_cli.models.checkpoint import load_network
from dtsvibe_cli.models.dts_vibe import DtsVibe
from dtsvibe_cli.stages.detection import make_detector
from dtsvibe_cli.stages.estimation import estimate_timelines, split_timelines
from dtsvibe_cli.stages.flow import FlowEstimator, make_flow
from dtsvibe_cli.stages.following import FollowedFrame, follow_people
from dtsvibe_cli.stages.observation import Observer
from dtsvibe_cli.stages.tracking import make_tracker
from dtsvibe_cli.timing import recorded_stages
from dtsvibe_cli.video import probe, read_frames

MOST_FRAMES: Final = 64
"""That are held in memory and gone through again and again."""
MIN_SECONDS: Final = 2.0
"""Passes are timed until so much time has gone."""
_MIB: Final = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class NetworkPath:
    """How fast a device is at the network path, and what that takes at least."""

    device: str
    num_frames: int
    """Of all timed passes."""
    people_per_frame: float
    seconds: float
    stages: Mapping[str, float]
    """Shares of the time by stage, of a pass that waits for the device after each; sum 1."""
    floor: Mapping[str, Cost]
    """For one person in one frame."""
    upload_bytes: int
    """Of a frame that goes to the GPU; 0 where there is none."""
    peak_device_memory_mib: float | None = None
    """Reserved on the GPU: tensors, and what CUDA graphs compute in."""
    utilisation_percent: float | None = None
    """Of the GPU, as its driver tells; None without pynvml."""

    @property
    def frames_per_second(self) -> float:
        """Crops to parameters."""
        return self.num_frames / self.seconds

    @property
    def bottleneck(self) -> str:
        """The stage that takes longest."""
        return max(self.stages, key=lambda stage: self.stages[stage])

    @property
    def cost_a_frame(self) -> Cost:
        """Of all people in a frame."""
        parts = self.floor.values()
        return Cost(
            multiply_adds=self.people_per_frame * sum(part.multiply_adds for part in parts),
            bytes_moved=self.people_per_frame * sum(part.bytes_moved for part in parts)
            + self.upload_bytes,
        )

    def to_json(self) -> dict[str, Any]:
        """All of it, and the speed."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        cost = self.cost_a_frame
        return {
            "frames_per_second": self.frames_per_second,
            "bottleneck": self.bottleneck,
            "multiply_adds_a_frame": cost.multiply_adds,
            "bytes_a_frame": cost.bytes_moved,
            **values,
            "stages": dict(self.stages),
            "floor": {name: vars(part) for name, part in self.floor.items()},
        }


@dataclass(frozen=True, kw_only=True)
class _Path:
    """What a pass needs."""

    frames: Sequence[FollowedFrame]
    network: DtsVibe
    pose_network: BlazePoseLandmarks
    flow: FlowEstimator
    camera: PinholeCamera
    device: str

    def run(self) -> None:
        """One pass."""
        observer = Observer(
            self.pose_network,
            self.flow,
            picture_cnn=self.network.picture_cnn,
            flow_cnn=self.network.flow_cnn,
            device=self.device,
        )
        for frame in self.frames:
            observer.look(frame)
        seen = [
            (track.observations, timeline)
            for track in observer.tracks().values()
            for timeline in split_timelines(track.observations)
        ]
        estimate_timelines(self.network, seen, self.camera, device=self.device)


def measure_network_path(
    clip: Path,
    *,
    device: str = "auto",
    num_frames: int = MOST_FRAMES,
    min_seconds: float = MIN_SECONDS,
    threads: int | None = None,
) -> NetworkPath:
    """Time the network path on the first frames of a clip.

    Args:
        clip: The video; its people are found before the time begins.
        device: Where the networks run.
        num_frames: How many frames, at most.
        min_seconds: How long it is timed at least.
        threads: CPU threads of torch; None leaves them to torch.

    Raises:
        DtsVibeError: The clip cannot be read or shows nobody, or there is no such device.
    """
    device = choose_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    on_cuda = device.startswith("cuda")
    wait: Callable[[], None] | None = partial(torch.cuda.synchronize, device) if on_cuda else None
    detector, tracker = make_detector("movenet", device=device), make_tracker("bytetrack")
    frames = list(islice(follow_people(read_frames(clip), detector, tracker), num_frames))
    if not any(frame.people for frame in frames):
        raise VideoError(f"Nobody was found in {clip}: give a clip with people in it.")
    path = _Path(
        frames=frames,
        network=load_network("lite", device),
        pose_network=load_blazepose(device),
        flow=make_flow("auto", device),
        camera=choose_camera(probe(clip), None),
        device=device,
    )
    path.run()  # warm: CUDA graphs are captured, weights packed
    with recorded_stages(wait) as stages:
        path.run()
    if on_cuda:
        torch.cuda.reset_peak_memory_stats(device)
    passes = 0
    with Utilisation(device) as utilisation:
        started_s = time.perf_counter()
        while (seconds := time.perf_counter() - started_s) < min_seconds or not passes:
            path.run()  # ends with parameters on the CPU: nothing is left to wait for
            passes += 1
    in_stages = {name: took for name, took in complete_stages(stages.wall_s).items() if took > 0}
    return NetworkPath(
        device=device,
        num_frames=passes * len(frames),
        people_per_frame=fmean(len(frame.people) for frame in frames),
        seconds=seconds,
        stages={name: took / sum(in_stages.values()) for name, took in in_stages.items()},
        floor=floor_of_network_path(device),
        upload_bytes=frames[0].frame.rgb.nbytes if on_cuda else 0,
        peak_device_memory_mib=torch.cuda.max_memory_reserved(device) / _MIB if on_cuda else None,
        utilisation_percent=utilisation.percent,
    )
