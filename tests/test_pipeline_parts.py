"""Networks, detectors, models and renderers of one's own in the pipeline, and its memory."""

import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pipeline_clips import NUM_FRAMES, QUICK, arrays_of, everything_in, tiny_network
from synthetic import small_body

from dtsvibe_cli import (
    estimate_video,
    pipeline,
    render_video,
)
from dtsvibe_cli.datatypes import Detections, Frame, VideoMotion
from dtsvibe_cli.devices import choose_device
from dtsvibe_cli.errors import BodyModelError, ConfigError
from dtsvibe_cli.models.backbone import LANDMARK_FEATURES
from dtsvibe_cli.models.checkpoint import load_network, save_network
from dtsvibe_cli.models.config import PAPER, TINY, ModelConfig
from dtsvibe_cli.models.dts_vibe import Theta, build, split_theta
from dtsvibe_cli.models.regressor import mean_theta
from dtsvibe_cli.stages.estimation import MotionModel
from dtsvibe_cli.video import read_frames


class Blind:
    """A detector that never finds anybody."""

    def __call__(self, frame: Frame) -> Detections:
        return Detections(boxes_xyxy=np.empty((0, 4)), scores=np.empty(0))


class Sure:
    """A detector that always finds somebody in the middle."""

    def __call__(self, frame: Frame) -> Detections:
        return Detections(boxes_xyxy=np.array([[20.0, 10.0, 70.0, 90.0]]), scores=np.ones(1))


@pytest.mark.parametrize("detector", [Blind(), Sure()])
def test_memory_holds_a_few_pictures_only(
    detector: Any, nobody: Path, weights: str | Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[weakref.ref[Frame]] = []
    most = 0

    def counted(source: Path, **keywords: Any) -> Iterator[Frame]:
        nonlocal most
        for frame in read_frames(source, **keywords):
            alive.append(weakref.ref(frame))
            most = max(most, sum(ref() is not None for ref in alive))
            yield frame

    monkeypatch.setattr(pipeline, "read_frames", counted)
    motion, _ = estimate_video(
        nobody, detector=detector, weights=weights, detect_every=3, refine=False
    )
    assert len(motion.people) == isinstance(detector, Sure)
    assert len(alive) == 30
    assert most <= 20


@pytest.mark.parametrize(
    ("config", "at_most_bytes"),
    [
        (PAPER, 72e6),  # a byte for each parameter
        (replace(TINY, v_cnn="resnet50"), 25e6),
        (replace(TINY, v_cnn="resnet50", o_cnn="none"), 25e6),
    ],
    ids=["paper", "small flow", "no flow"],
)
def test_a_network_that_looks_at_pictures_runs_from_its_file(
    config: ModelConfig, at_most_bytes: float, clip: Path, tmp_path: Path
) -> None:
    path = tmp_path / "network.safetensors"
    written = save_network(build(config), path, {})
    assert sum(file.stat().st_size for file in written) < at_most_bytes
    motion, _ = estimate_video(clip, weights=path, end_s=0.1, **QUICK)
    (person,) = motion.people
    assert person.track.frame_index.tolist() == [0, 1, 2]
    assert np.isfinite(person.joints_cam).all()
    assert len(motion.meta["weights"]["sha256"]) == len(written) > 1


@pytest.mark.parametrize("window", [8, 32])
def test_a_network_says_how_many_frames_it_sees(clip: Path, tmp_path: Path, window: int) -> None:
    (file,) = save_network(build(replace(TINY, window=window)), tmp_path / "n.safetensors", {})
    motion, _ = estimate_video(clip, weights=file, end_s=0.6, **QUICK)
    (person,) = motion.people
    assert len(person.track.frame_index) == 18
    assert np.isfinite(person.joints_cam).all()
    with pytest.raises(ConfigError, match=f"the network sees {window} frames at a time"):
        estimate_video(clip, weights=file, window_stride=window + 1, **QUICK)


class Counting:
    """A renderer that draws nothing."""

    name = "counting"

    def __init__(self) -> None:
        self.num_drawn = 0
        self.num_vertices: set[int] = set()

    def draw(self, image: np.ndarray, meshes: Any, camera: Any, **_: Any) -> np.ndarray:
        self.num_drawn += len(meshes)
        self.num_vertices |= {len(mesh.vertices_cam) for mesh in meshes}
        return image

    def close(self) -> None:
        raise AssertionError("this is not the pipeline's to close")


def test_a_renderer_of_ones_own_is_left_open(results: pipeline.RunResult, tmp_path: Path) -> None:
    renderer = Counting()
    render_video(results.motion, tmp_path / "drawn.mp4", renderer=renderer, layout="overlay")
    assert renderer.num_drawn == NUM_FRAMES


class Standing:
    """Somebody's own motion model: everybody stands upright, whatever is seen."""

    window = 5
    picture_cnn = None
    flow_cnn = None

    def __init__(self) -> None:
        self.given: list[tuple[torch.Size, torch.Tensor | None, torch.Tensor]] = []

    def __call__(
        self, appearance: torch.Tensor, flow_features: torch.Tensor | None, valid: torch.Tensor
    ) -> Theta:
        self.given.append((appearance.shape, flow_features, valid))
        return split_theta(mean_theta("parent").expand(*valid.shape, -1), "parent")


def test_a_motion_model_and_a_body_of_ones_own(clip: Path, tmp_path: Path) -> None:
    model, body = Standing(), small_body().to("cpu")
    assert isinstance(model, MotionModel)
    motion, _ = estimate_video(
        clip, weights=model, body_model=body, end_s=0.4, window_stride=3, smooth_s=0.0, **QUICK
    )
    ((shape, flow_features, valid),) = model.given
    assert (shape, flow_features) == ((4, 5, LANDMARK_FEATURES), None)  # from frames 0, 3, 6, 7
    assert valid.all()
    (person,) = motion.people
    upright = np.broadcast_to(np.eye(3), (12, 23, 3, 3))
    np.testing.assert_allclose(person.smpl.body_pose, upright, atol=1e-6)
    posed = body.pose(torch.eye(3).expand(1, 24, 3, 3), torch.zeros(1, 10)).joints[0].numpy()
    from_pelvis = np.linalg.norm(posed - posed[0], axis=-1)
    there = np.linalg.norm(person.joints_cam - person.joints_cam[:, :1], axis=-1)
    np.testing.assert_allclose(there, np.tile(from_pelvis, (12, 1)), atol=1e-4)
    assert motion.meta["weights"] == {"name": "Standing", "sha256": []}
    assert motion.meta["body_model"]["name"] == "small"

    drawer = Counting()
    render_video(motion, tmp_path / "own.mp4", body_model=body, renderer=drawer)
    assert drawer.num_vertices == {len(body.v_template)}
    with pytest.raises(BodyModelError, match=r"model 'small', not with .*: give the"):
        render_video(motion, tmp_path / "other.mp4", renderer=drawer)
    assert not (tmp_path / "other.mp4").exists()


@pytest.mark.parametrize("allowed", [False, True])
def test_downloads_are_the_users_decision(
    allowed: bool, one_frame: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, bool]] = []

    def make(name: str, *, device: str, allow_download: bool = False) -> Sure:
        asked.append((name, allow_download))
        return Sure()

    monkeypatch.setattr(pipeline, "make_detector", make)
    estimate_video(
        one_frame,
        detector="yolo11n",
        allow_download=allowed,
        weights=tiny_network(tmp_path),
        refine=False,
    )
    assert asked == [("yolo11n", allowed)]


def test_a_network_in_memory_does_what_its_file_does(clip: Path, tmp_path: Path) -> None:
    """Dropout and all: it is made ready for inference."""
    network = load_network(tiny_network(tmp_path)).train()
    motions = [
        estimate_video(clip, weights=weights, end_s=0.2, **QUICK)[0]
        for weights in (tmp_path / "tiny.safetensors", network)
    ]
    assert not network.training
    from_file, from_memory = (arrays_of(motion.people[0]) for motion in motions)
    for name, values in from_file.items():
        np.testing.assert_array_equal(from_memory[name], values)


@pytest.mark.parametrize("keyword", ["layout", "renderer"])
def test_names_that_do_not_exist(keyword: str, results: pipeline.RunResult, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"There is no {keyword} 'nice'"):
        render_video(results.motion, tmp_path / "drawn.mp4", **{keyword: "nice"})
    assert not everything_in(tmp_path)


def test_devices() -> None:
    assert choose_device("cpu") == "cpu"
    assert choose_device("auto") in ("cpu", "cuda", "mps")
    with pytest.raises(ConfigError, match="has no device 'abacus'"):
        choose_device("abacus")


def test_a_result_without_people_can_be_drawn(nobody: Path, tmp_path: Path) -> None:
    motion, _ = estimate_video(nobody, detector=Blind(), weights=tiny_network(tmp_path), end_s=0.1)
    assert isinstance(motion, VideoMotion)
    render_video(motion, tmp_path / "drawn.mp4", renderer="numpy")
    assert sum(1 for _ in read_frames(tmp_path / "drawn.mp4")) == 3
