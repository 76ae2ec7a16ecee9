"""Clips, a network, and a whole run, for all that tests the way from a file to results."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from dtsvibe_cli import (
    pipeline,
    run,
)
from dtsvibe_cli.cli import main
from dtsvibe_cli.datatypes import PersonMotion
from dtsvibe_cli.models.checkpoint import save_network
from dtsvibe_cli.models.config import TINY
from dtsvibe_cli.models.dts_vibe import build
from dtsvibe_cli.synthetic.clip import FRAME_RATE
from dtsvibe_cli.video import VideoWriter, read_frames
from dtsvibe_cli.weights import registry

EXAMPLES = Path(__file__).parent.parent / "examples"
CLIP = EXAMPLES / "synthetic_walk.mp4"
NUM_FRAMES = 24
QUICK: dict[str, Any] = {"detect_every": 10, "refine": False}


def write_video(path: Path, pictures: Sequence[np.ndarray]) -> Path:
    with VideoWriter(path, frame_rate=FRAME_RATE) as writer:
        for index, rgb in enumerate(pictures):
            writer.write(rgb, pts=index, time_base=1 / FRAME_RATE)
    return path


def pictures(num_frames: int) -> list[np.ndarray]:
    return [frame.rgb for frame, _ in zip(read_frames(CLIP), range(num_frames), strict=False)]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pipeline")


@pytest.fixture(scope="session")
def clip(folder: Path) -> Path:
    """Nearly a second of the synthetic clip."""
    return write_video(folder / "walk.mp4", pictures(NUM_FRAMES))


@pytest.fixture(scope="session")
def one_frame(folder: Path) -> Path:
    return write_video(folder / "one.mp4", pictures(1))


@pytest.fixture(scope="session")
def nobody(folder: Path) -> Path:
    """A second of grey noise."""
    rng = np.random.default_rng(0)
    noise = [
        np.repeat(rng.integers(100, 156, (96, 128, 1), dtype=np.uint8), 3, -1) for _ in range(30)
    ]
    return write_video(folder / "nobody.mp4", noise)


@pytest.fixture(scope="session")
def weights(folder: Path) -> str | Path:
    """The trained network where it is built in, else a tiny untrained one."""
    if "dtsvibe_lite" in registry():
        return "lite"
    (path,) = save_network(build(TINY, seed=1), folder / "tiny.safetensors", {})
    return path


@pytest.fixture(scope="session")
def results(folder: Path, clip: Path, weights: str | Path) -> pipeline.RunResult:
    """A whole run with everything on."""
    return run(
        clip, folder / "out", weights=weights, verts=True, renderer="numpy", layout="overlay"
    )


@pytest.fixture
def dtsvibe(weights: str | Path) -> Callable[..., Result]:
    """``dtsvibe run`` with quick settings; later options win."""

    def call(source: object, out: Path, *options: object) -> Result:
        quick = ["--weights", weights, "--no-refine", "--detect-every", 10, "--renderer", "numpy"]
        words = ["run", source, "--out", out, *quick, *options]
        return CliRunner().invoke(main, [str(word) for word in words])

    return call


def tiny_network(folder: Path) -> Path:
    """Untrained weights of the least size."""
    return save_network(build(TINY), folder / "tiny.safetensors", {})[0]


def everything_in(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*")) if folder.exists() else []


def arrays_of(person: PersonMotion) -> dict[str, np.ndarray]:
    return {
        "global_orient": person.smpl.global_orient,
        "body_pose": person.smpl.body_pose,
        "betas": person.smpl.betas,
        "transl": person.smpl.transl,
        "joints_cam": person.joints_cam,
        "joints_px": person.joints_px,
        "boxes_xyxy": person.track.boxes_xyxy,
        "crops_cxcys": person.crops_cxcys,
        "scale": person.camera.scale,
    }


def assert_one_sentence(result: Result, *, naming: object) -> None:
    """Exit 1, nothing on stdout, one line on stderr, no traceback."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert str(naming) in line
    assert line.endswith(".")
