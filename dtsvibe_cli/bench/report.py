"""The whole of one benchmark, as numbers for programs."""

import platform
from dataclasses import dataclass
from typing import Any

import torch

from dtsvibe_cli import __version__
from dtsvibe_cli.bench.comparison import Contestant, available_cores
from dtsvibe_cli.bench.growth import Growth, GrowthPoint, increase
from dtsvibe_cli.bench.measured import Measured
from dtsvibe_cli.bench.network_path import NetworkPath
from dtsvibe_cli.datatypes import VideoInfo
from dtsvibe_cli.errors import RenderError
from dtsvibe_cli.stages.rendering import RendererName, make_renderer


@dataclass(frozen=True, kw_only=True)
class BenchReport:
    """What was measured, on what, and what was not."""

    clip: str
    """What it is: the file, or what was generated."""
    video: VideoInfo
    contestants: tuple[Contestant, ...]
    """dtsvibe with its default device and renderer first."""
    network_paths: tuple[NetworkPath, ...]
    """Crops to parameters alone, on each device."""
    growth: tuple[tuple[Growth, tuple[GrowthPoint, ...]], ...]
    machine: dict[str, Any]
    unmeasured: tuple[str, ...]
    """What this machine cannot tell, in words."""

    @property
    def main(self) -> Measured:
        """The run of dtsvibe with the first device and renderer."""
        return self.contestants[0].typical

    def reference(self, way: str, device: str | None = None) -> Contestant | None:
        """A reference pipeline on a device (by default the first one); None when it did not run."""
        wanted = device or self.main.device
        for each in self.contestants:
            if each.way == way and each.typical.device == wanted:
                return each
        return None

    def ratio_to(self, way: str) -> float | None:
        """How many times as fast dtsvibe is as a reference; None when that did not run."""
        reference = self.reference(way)
        return None if reference is None else self.contestants[0].ratio_to(reference)

    def to_json(self) -> dict[str, Any]:
        """Plain values; the keys at the top are those of the first contestant."""
        return {
            "frames_per_second": self.main.frames_per_second,
            "ratio_to_vibe_way": self.ratio_to("vibe"),
            "ratio_to_nano_way": self.ratio_to("nano"),
            "peak_memory_mib": self.contestants[0].peak_memory_mib,
            "stages": dict(self.main.stages),
            "seconds": self.main.seconds,
            "num_frames": self.main.num_frames,
            "people_per_frame": self.main.people_per_frame,
            "device": self.main.device,
            "renderer": self.main.renderer,
            "clip": self.clip,
            "width_px": self.video.width_px,
            "height_px": self.video.height_px,
            "contestants": [
                {
                    **each.typical.to_json(),
                    "peak_memory_mib": each.peak_memory_mib,
                    "rounds_ms_per_frame": [run.ms_per_frame for run in each.rounds],
                }
                for each in self.contestants
            ],
            "network_path": [path.to_json() for path in self.network_paths],
            "growth": {
                growth.kind: [{"value": p.value, **p.run.to_json()} for p in points]
                for growth, points in self.growth
            },
            "growth_last_to_first": {
                growth.kind: dict(
                    zip(("ms_per_frame", "peak_memory_mib"), increase(points), strict=True)
                )
                for growth, points in self.growth
            },
            "machine": self.machine,
            "unmeasured": list(self.unmeasured),
        }


def about_machine(threads: int | None) -> dict[str, Any]:
    """What the numbers depend on."""
    return {
        "cores": available_cores(),
        "reference_threads": threads or available_cores(),
        "processor": platform.processor() or platform.machine(),
        "gpus": [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())],
        "dtsvibe": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def present_devices() -> list[str]:
    """Every device, the default one first."""
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return [*cuda, *mps, "cpu"]


def missing_devices() -> list[str]:
    """What cannot be measured here, in words."""
    missing = []
    if not torch.cuda.is_available():
        missing.append("CUDA: there is no such GPU here; its path is untimed")
    return missing


def present_renderers() -> list[str]:
    """Every renderer that draws here, the default one first."""
    names: tuple[RendererName, ...] = ("egl", "numba", "numpy")
    present: list[str] = []
    for name in names:
        try:
            make_renderer(name).close()
        except RenderError:
            continue
        present.append(name)
    return present
