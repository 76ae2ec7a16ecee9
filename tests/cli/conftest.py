"""A pipeline that only takes notes, for tests of what the command line does around it."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import dtsvibe_cli
from dtsvibe_cli.cli import main
from dtsvibe_cli.datatypes import PinholeCamera, VideoInfo, VideoMotion


@dataclass(frozen=True)
class FakeReport:
    seconds: dict[str, float] = field(default_factory=lambda: {"decode": 0.5})


@dataclass
class FakeResult:
    motion: VideoMotion
    written: tuple[Path, ...]
    report: FakeReport = field(default_factory=FakeReport)


@dataclass
class FakePipeline:
    motion: VideoMotion
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    error: BaseException | None = None

    def run(self, source: str, out: Path, **keywords: Any) -> FakeResult:
        self.calls.append((source, out, keywords))
        keywords["on_progress"]("decode", 1, None)
        if self.error:
            raise self.error
        return FakeResult(self.motion, (out / "x_smpl.npz", out / "x_report.json"))

    def render_video(self, motion: VideoMotion, out_path: Path, **keywords: Any) -> Path:
        self.calls.append((motion, out_path, keywords))
        return out_path


@pytest.fixture
def empty_motion() -> VideoMotion:
    return VideoMotion(
        video=VideoInfo(
            path=Path("clips/walk.mp4"), width_px=64, height_px=48, frame_rate=Fraction(25)
        ),
        camera=PinholeCamera(focal_length_px=80.0, center_px=(32.0, 24.0), source="default"),
        people=(),
        time_s=np.arange(4) / 25,
    )


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, empty_motion: VideoMotion) -> FakePipeline:
    fake = FakePipeline(empty_motion)
    monkeypatch.setitem(sys.modules, "dtsvibe_cli.pipeline", fake)  # type: ignore[arg-type]
    monkeypatch.setattr(dtsvibe_cli, "pipeline", fake, raising=False)
    return fake


@pytest.fixture
def dtsvibe() -> Callable[..., Result]:
    """Call the command line with these arguments."""

    def call(*args: object) -> Result:
        return CliRunner().invoke(main, [str(arg) for arg in args])

    return call
