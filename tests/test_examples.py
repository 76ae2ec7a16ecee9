"""The examples run as they stand, on one second of the synthetic clip."""

import hashlib
import importlib.util
import runpy
import subprocess
import sys
import zipfile
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from dtsvibe_cli.datatypes import (
    PersonMotion,
    PinholeCamera,
    SmplParams,
    Track,
    VideoMotion,
    WeakPerspectiveCamera,
)
from dtsvibe_cli.results import save_results
from dtsvibe_cli.smpl_files import load_body_model
from dtsvibe_cli.synthetic.clip import FRAME_RATE
from dtsvibe_cli.synthetic.truth import load_truth
from dtsvibe_cli.video import VideoWriter, probe, read_frames

EXAMPLES = Path(__file__).parent.parent / "examples"
NUM_FRAMES = 24


@pytest.fixture(scope="module")
def short_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "walk.mp4"
    with VideoWriter(path, frame_rate=FRAME_RATE) as writer:
        for frame in read_frames(EXAMPLES / "synthetic_walk.mp4"):
            if frame.index == NUM_FRAMES:
                break
            writer.write(frame.rgb, pts=frame.pts, time_base=frame.time_base)
    return path


@pytest.fixture(scope="module")
def saved_results(short_clip: Path) -> Path:
    """The truth in the shape of results: what a perfect estimate would have saved."""
    truth = load_truth(EXAMPLES / "synthetic_walk_truth.npz")
    rows = slice(0, NUM_FRAMES)
    joints_px = truth.joints_px[rows]
    low, high = joints_px.min(axis=1), joints_px.max(axis=1)
    side = (high - low).max(axis=1)
    person = PersonMotion(
        track=Track(
            track_id=1,
            frame_index=np.arange(NUM_FRAMES),
            boxes_xyxy=np.concatenate([low, high], axis=1),
            scores=np.ones(NUM_FRAMES),
        ),
        smpl=SmplParams(
            global_orient=truth.global_orient_rotmat[rows],
            body_pose=truth.body_pose_rotmat[rows],
            betas=np.tile(truth.betas, (NUM_FRAMES, 1)),
            transl=truth.transl[rows],
        ),
        camera=WeakPerspectiveCamera(
            scale=np.ones(NUM_FRAMES), tx=np.zeros(NUM_FRAMES), ty=np.zeros(NUM_FRAMES)
        ),
        crops_cxcys=np.concatenate([(low + high) / 2, side[:, None]], axis=1),
        joints_cam=truth.joints_cam[rows],
        joints_px=joints_px,
        observed=np.ones(NUM_FRAMES, dtype=bool),
    )
    body = load_body_model()
    motion = VideoMotion(
        video=probe(short_clip),
        camera=PinholeCamera(
            focal_length_px=truth.focal_length_px, center_px=truth.center_px, source="option"
        ),
        people=(person,),
        time_s=np.arange(NUM_FRAMES) / float(FRAME_RATE),
        meta={"body_model": body.name, "body_model_sha256": body.sha256},
    )
    path = short_clip.with_name("walk_smpl.npz")
    save_results(motion, path)
    return path


def _run(
    name: str, *arguments: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """What an example prints when it is run with these arguments."""
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    return capsys.readouterr().out


def test_python_api(
    short_clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = _run("01_python_api.py", short_clip, monkeypatch=monkeypatch, capsys=capsys)
    assert said.startswith("1 people")
    assert "right_wrist" in said


def test_read_results(
    saved_results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = _run("02_read_results.py", saved_results, monkeypatch=monkeypatch, capsys=capsys)
    fastest = [float(line.split(" up to ")[1].split()[0]) for line in said.splitlines()]
    assert len(fastest) == 2
    assert all(0.5 < speed < 5 for speed in fastest)  # arms that swing in walking


def test_custom_detector(
    short_clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = EXAMPLES / "synthetic_walk_truth.npz"
    said = _run("03_custom_detector.py", short_clip, truth, monkeypatch=monkeypatch, capsys=capsys)
    assert float(said.split(" frames, ")[1].split()[0]) < 30


def test_render_other_view(
    saved_results: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "side.mp4"
    _run("04_render_other_view.py", saved_results, out, monkeypatch=monkeypatch, capsys=capsys)
    frames = [frame.rgb for frame in read_frames(out)]
    assert len(frames) == NUM_FRAMES
    assert probe(out).frame_rate == Fraction(30)
    assert frames[0].shape[1] > 1.5 * frames[0].shape[0]  # two panels


def test_body_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "body.obj"
    said = _run("05_body_model.py", out, monkeypatch=monkeypatch, capsys=capsys)
    corners = [line.split()[1:] for line in out.read_text().splitlines() if line.startswith("v ")]
    height = np.ptp(np.array(corners, dtype=float)[:, 1])
    assert f"{height:.2f} m tall" in said
    assert 1.7 < height < 2.0


def test_measure_accuracy(
    short_clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = EXAMPLES / "synthetic_walk_truth.npz"
    said = _run("06_measure_accuracy.py", short_clip, truth, monkeypatch=monkeypatch, capsys=capsys)
    errors = dict(line.split()[2:] for line in said.splitlines())
    assert int(errors["num_frames"]) == NUM_FRAMES
    assert 0 < float(errors["pa_mpjpe_mm"]) < float(errors["mpjpe_mm"]) < 200


def _demo_clip() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo_clip", EXAMPLES / "demo_clip.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _fake_pip(content: bytes) -> Any:
    def run(command: list[str], **_: object) -> None:
        wheel = Path(command[command.index("-d") + 1]) / "sports2d.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("Sports2D/Demo/demo.mp4", content)

    return run


def test_demo_clip_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo_clip = _demo_clip()
    monkeypatch.setattr(demo_clip, "SHA256", hashlib.sha256(b"real").hexdigest())
    monkeypatch.setattr(demo_clip.subprocess, "run", _fake_pip(b"real"))
    clip = demo_clip.real_clip(tmp_path)
    assert clip.read_bytes() == b"real"
    monkeypatch.setattr(demo_clip.subprocess, "run", None)  # a second fetch would fail
    assert demo_clip.real_clip(tmp_path) == clip
    assert list(tmp_path.iterdir()) == [clip]


@pytest.mark.parametrize("failure", ["offline", "no pip", "slow", "other file"])
def test_demo_clip_falls_back_to_the_synthetic_one(
    failure: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    errors: dict[str, Exception] = {
        "offline": subprocess.CalledProcessError(1, "pip", stderr="try\nERROR: no index"),
        "no pip": FileNotFoundError("no python"),
        "slow": subprocess.TimeoutExpired("pip", 300),
    }

    def fail(*_: object, **__: object) -> None:
        raise errors[failure]

    demo_clip = _demo_clip()
    run = fail if failure in errors else _fake_pip(b"something else")
    monkeypatch.setattr(demo_clip.subprocess, "run", run)
    monkeypatch.setattr(demo_clip, "user_cache_path", lambda _: tmp_path)
    demo_clip.main()
    said = capsys.readouterr()
    assert said.out.splitlines() == [str(EXAMPLES / "synthetic_walk.mp4")]
    assert len(said.err.splitlines()) == 1
    assert "synthetic" in said.err
    assert not list((tmp_path / "clips").glob("*.mp4"))
