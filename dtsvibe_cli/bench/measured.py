"""What a measurement gives: plain numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

STAGES: Final = (
    "load", "decode", "detect", "track", "crop", "flow", "v_cnn", "o_cnn", "transformer", "refine",
    "body", "render", "encode",
)  # fmt: skip
"""In the order of work; everything else is ``other``.

In the reference pipelines ``v_cnn`` is ResNet-50 and ``transformer`` the GRU with HMR's regressor.
"""

_PARTS: Final = {"blazepose": "v_cnn", "network": "transformer", "draw": "render"}
"""Marks of finer or other names, and the stage they are part of.

``observe``, ``motion`` and ``render`` mark whole passes: what is left of them is ``other``.
"""

LABELS: Final = {"v_cnn": "V-CNN", "o_cnn": "O-CNN"}
"""What people read, where it is not the name itself."""

WAYS: Final = {
    "dtsvibe": "dtsvibe",
    "vibe": "VIBE's way, YOLOv3-416",
    "nano": "VIBE's way, YOLO11n",
}
"""What is compared."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One pass over a clip, or over some frames of it."""

    way: str
    """One of :data:`WAYS`."""
    device: str
    """Where the networks ran."""
    renderer: str
    """What drew."""
    num_frames: int
    people_per_frame: float
    """Drawn, on average."""
    seconds: float
    """From opening the clip to the finished video."""
    cpu_seconds: float
    """Of all threads of the process."""
    stages: Mapping[str, float]
    """Seconds by stage, :data:`STAGES` and ``other``. Their sum is ``seconds``, or more where
    threads overlap."""
    stages_cpu: Mapping[str, float]
    """CPU seconds of the threads that carry the stages; their helpers' (OpenMP, x264) left out."""
    peak_memory_mib: float
    """Resident, with child processes."""
    peak_device_memory_mib: float | None = None
    """Reserved on the GPU: tensors, and what CUDA graphs compute in."""

    @property
    def frames_per_second(self) -> float:
        """End to end."""
        return self.num_frames / self.seconds

    @property
    def ms_per_frame(self) -> float:
        """End to end."""
        return 1000 * self.seconds / self.num_frames

    @property
    def cpu_ms_per_frame(self) -> float:
        """Of all threads: what a frame costs however busy the machine is."""
        return 1000 * self.cpu_seconds / self.num_frames

    def stage_ms(self, stage: str) -> float:
        """Milliseconds a frame of one stage."""
        return 1000 * self.stages.get(stage, 0.0) / self.num_frames

    def to_json(self) -> dict[str, Any]:
        """All of it, and the speeds."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        values["stages"], values["stages_cpu"] = dict(self.stages), dict(self.stages_cpu)
        speed = {
            "frames_per_second": self.frames_per_second,
            "ms_per_frame": self.ms_per_frame,
            "cpu_ms_per_frame": self.cpu_ms_per_frame,
        }
        return {**speed, **values}


def complete_stages(seconds: Mapping[str, float], total_s: float | None = None) -> dict[str, float]:
    """Seconds of the stages in their order; what belongs to none of them is ``other``.

    Args:
        seconds: By any name.
        total_s: The time that passed, to which ``other`` fills the sum up.
    """
    stages = {name: seconds.get(name, 0.0) if name != "render" else 0.0 for name in STAGES}
    for part, stage in _PARTS.items():
        stages[stage] += seconds.get(part, 0.0)
    if total_s is None:
        other = sum(seconds.values()) - sum(stages.values())
    else:
        other = total_s - sum(stages.values())
    return {**stages, "other": max(0.0, other)}
