"""The whole way from a file to results, and what becomes of bad input."""

import json
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from synthetic import small_body

from dtsvibe_cli import (
    estimate_video,
    load_results,
    pipeline,
    render_video,
    run,
    save_results,
    save_vibe_pickle,
)
from dtsvibe_cli.cli import main
from dtsvibe_cli.datatypes import Detections, Frame, PersonMotion, VideoMotion
from dtsvibe_cli.devices import choose_device
from dtsvibe_cli.errors import BodyModelError, ConfigError, VideoError
from dtsvibe_cli.models.backbone import LANDMARK_FEATURES
from dtsvibe_cli.models.checkpoint import load_network, save_network
from dtsvibe_cli.models.config import PAPER, TINY, ModelConfig
from dtsvibe_cli.models.dts_vibe import Theta, build, split_theta
from dtsvibe_cli.models.regressor import mean_theta
from dtsvibe_cli.results import ResultPaths
from dtsvibe_cli.stages.estimation import MotionModel
from dtsvibe_cli.streaming import Stages
from dtsvibe_cli.synthetic.clip import FRAME_RATE
from dtsvibe_cli.synthetic.truth import load_truth
from dtsvibe_cli.video import VideoWriter, probe, read_frames
from dtsvibe_cli.weights import find, registry

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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pipeline")


@pytest.fixture(scope="module")
def clip(folder: Path) -> Path:
    """Nearly a second of the synthetic clip."""
    return write_video(folder / "walk.mp4", pictures(NUM_FRAMES))


@pytest.fixture(scope="module")
def one_frame(folder: Path) -> Path:
    return write_video(folder / "one.mp4", pictures(1))


@pytest.fixture(scope="module")
def nobody(folder: Path) -> Path:
    """A second of grey noise."""
    rng = np.random.default_rng(0)
    noise = [
        np.repeat(rng.integers(100, 156, (96, 128, 1), dtype=np.uint8), 3, -1) for _ in range(30)
    ]
    return write_video(folder / "nobody.mp4", noise)


@pytest.fixture(scope="module")
def weights(folder: Path) -> str | Path:
    """The trained network where it is built in, else a tiny untrained one."""
    if "dtsvibe_lite" in registry():
        return "lite"
    (path,) = save_network(build(TINY, seed=1), folder / "tiny.safetensors", {})
    return path


@pytest.fixture(scope="module")
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


def test_the_walker_is_followed_in_every_frame(results: pipeline.RunResult) -> None:
    motion = results.motion
    (person,) = motion.people
    assert person.track.frame_index.tolist() == list(range(NUM_FRAMES))
    assert person.observed.all()
    np.testing.assert_allclose(motion.time_s, np.arange(NUM_FRAMES) / float(FRAME_RATE))
    truth = load_truth(EXAMPLES / "synthetic_walk_truth.npz").joints_px[:NUM_FRAMES]
    error_px = np.linalg.norm(person.joints_px - truth, axis=-1)
    height_px = np.ptp(truth[..., 1], axis=1).mean()
    assert np.median(error_px) < 0.1 * height_px  # refined, so even from an untrained network


def test_parameters_and_joints_say_the_same(results: pipeline.RunResult) -> None:
    (person,) = results.motion.people
    camera = results.motion.camera
    x, y, z = np.moveaxis(person.joints_cam.astype(float), -1, 0)
    projected = np.stack([x / z, y / z], -1) * camera.focal_length_px + camera.center_px
    np.testing.assert_allclose(person.joints_px, projected, atol=0.05)
    np.testing.assert_array_equal(person.smpl.betas, person.smpl.betas[:1].repeat(NUM_FRAMES, 0))
    eye = np.broadcast_to(np.eye(3), (NUM_FRAMES, 23, 3, 3))
    turned = person.smpl.body_pose @ person.smpl.body_pose.swapaxes(-1, -2)
    np.testing.assert_allclose(turned, eye, atol=1e-4)


def test_four_files_are_written_and_tell_the_same(results: pipeline.RunResult, clip: Path) -> None:
    out = results.written[0].parent
    paths = ResultPaths.of(out, clip)
    files = {paths.motion, paths.vibe, paths.overlay, paths.report}
    assert set(results.written) == files
    assert set(everything_in(out)) == files
    loaded = load_results(out)
    for name, values in arrays_of(results.motion.people[0]).items():
        np.testing.assert_allclose(arrays_of(loaded.people[0])[name], values, atol=1e-3)
    drawn = probe(paths.overlay)
    assert (drawn.width_px, drawn.height_px) == (probe(clip).width_px, probe(clip).height_px)
    assert sum(1 for _ in read_frames(paths.overlay)) == NUM_FRAMES


def test_the_report_says_what_happened(results: pipeline.RunResult, clip: Path) -> None:
    text = ResultPaths.of(results.written[0].parent, clip).report.read_text()
    report = json.loads(text)
    assert report["num_frames"] == NUM_FRAMES
    assert report["people"][0]["num_frames"] == NUM_FRAMES
    assert report["people"][0]["num_filled_frames"] == 0
    assert [track["kind"] for track in report["tracks"]] == ["kept"]
    stages = {
        *("load", "observe", "decode", "detect", "track", "crop", "blazepose", "flow"),
        *("motion", "network", "refine", "render", "body", "draw", "encode"),
    }
    assert stages <= report["seconds"].keys()
    assert all(report["seconds"][stage] > 0 for stage in stages)
    assert "numpy" in report["renderer"]
    assert report["versions"].keys() == {"dtsvibe", "python", "torch", "numpy"}


def test_the_same_run_gives_the_same_numbers(
    results: pipeline.RunResult, clip: Path, weights: str | Path
) -> None:
    motion, _ = estimate_video(clip, weights=weights)
    again, first = arrays_of(motion.people[0]), arrays_of(results.motion.people[0])
    for name, values in first.items():
        np.testing.assert_array_equal(again[name], values)


def test_threads_change_nothing(
    results: pipeline.RunResult,
    clip: Path,
    weights: str | Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Stages, "ahead", lambda self, items, queue_size=0: iter(items))
    alone = run(clip, tmp_path, weights=weights, renderer="numpy", layout="overlay")
    first, again = (arrays_of(each.motion.people[0]) for each in (results, alone))
    for name, values in first.items():
        np.testing.assert_array_equal(again[name], values)
    videos = (results.written[0], alone.written[0])
    for one, other in zip(*map(read_frames, videos), strict=True):
        np.testing.assert_array_equal(one.rgb, other.rgb)


class Breaking:
    """A part of the pipeline that fails at the third call."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.num_calls = 0

    def __call__(self, *_: Any, **__: Any) -> Any:
        self.num_calls += 1
        if self.num_calls == 3:
            raise self.error
        return Detections(boxes_xyxy=np.array([[20.0, 10.0, 70.0, 90.0]]), scores=np.ones(1))


@pytest.mark.parametrize("error", [VideoError("The camera melts."), KeyboardInterrupt()])
@pytest.mark.parametrize("stage", ["decode", "detect", "flow"])
def test_an_error_in_any_stage_ends_the_run(
    error: BaseException,
    stage: str,
    clip: Path,
    tmp_path: Path,
    weights: str | Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def damaged(source: Path, **keywords: Any) -> Iterator[Frame]:
        for frame in read_frames(source, **keywords):
            if frame.index == 7:
                raise error
            yield frame

    class BreakingFlow(Breaking):
        def __call__(self, before: Any, now: Any) -> Any:
            super().__call__()
            return np.zeros((len(now), 2, *now.shape[1:3]), np.float32)

    options: dict[str, Any] = {"refine": False, "weights": weights, "renderer": "numpy"}
    if stage == "decode":
        monkeypatch.setattr(pipeline, "read_frames", damaged)
    elif stage == "detect":
        options["detector"] = Breaking(error)
    else:
        options["flow"] = BreakingFlow(error)
    before = threading.active_count()
    with pytest.raises(type(error)) as raised:
        run(clip, tmp_path / "out", **options)
    assert raised.value is error
    assert threading.active_count() == before
    assert not everything_in(tmp_path / "out")


def test_progress_is_told(clip: Path, weights: str | Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    estimate_video(
        clip,
        weights=weights,
        end_s=0.2,
        on_progress=lambda *now: told.append(now),
        **QUICK,
    )
    assert told[:6] == [("look", done, 6) for done in range(1, 7)]
    assert told[6:] == [("move", 0, 1), ("move", 1, 1)]


def test_a_part_of_a_video_keeps_its_frame_numbers(clip: Path, weights: str | Path) -> None:
    motion, report = estimate_video(clip, weights=weights, start_s=0.5, end_s=0.8, **QUICK)
    assert motion.first_frame == 15
    assert motion.people[0].track.frame_index.tolist() == list(range(15, 24))
    assert report.num_frames == len(motion.time_s) == 9
    np.testing.assert_allclose(motion.time_s, np.arange(15, 24) / float(FRAME_RATE))


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


def test_python_takes_paths_as_text(
    one_frame: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    body = str(find("body7k")[0])
    made = run(
        str(one_frame), "out", weights=str(_tiny(tmp_path)), body_model=body, renderer="numpy"
    )
    assert [path.exists() for path in made.written] == [True] * 4
    drawn = render_video(made.motion, "drawn.mp4", source=str(one_frame), renderer="numpy")
    assert drawn.exists()
    save_results(made.motion, "copy_smpl.npz")
    save_vibe_pickle(made.motion, "copy_smpl.pkl")
    assert load_results("copy_smpl.npz").people


def test_the_input_is_never_drawn_over(results: pipeline.RunResult, clip: Path) -> None:
    before = clip.read_bytes()
    with pytest.raises(ConfigError, match="is the input video itself"):
        render_video(results.motion, clip, renderer="numpy")
    assert clip.read_bytes() == before


def no_file(folder: Path, clip: Path) -> Path:
    return folder / "nothing.mp4"


def text_file(folder: Path, clip: Path) -> Path:
    path = folder / "notes.mp4"
    path.write_text("This is no video.\n" * 200)
    return path


def cut_off(folder: Path, clip: Path) -> Path:
    """The index is at the end of this file, and missing."""
    path = folder / "cut.mp4"
    content = clip.read_bytes()
    moov = content.index(b"moov") - 4
    size = int.from_bytes(content[moov : moov + 4], "big")
    path.write_bytes((content[:moov] + content[moov + size :])[: len(content) // 2])
    return path


def empty_file(folder: Path, clip: Path) -> Path:
    path = folder / "empty.mp4"
    path.touch()
    return path


def empty_folder(folder: Path, clip: Path) -> Path:
    path = folder / "frames"
    path.mkdir()
    return path


@pytest.mark.parametrize("make", [no_file, text_file, cut_off, empty_file, empty_folder])
def test_what_is_no_video_is_one_sentence(
    make: Callable[[Path, Path], Path], clip: Path, tmp_path: Path, dtsvibe: Callable[..., Result]
) -> None:
    source, out = make(tmp_path, clip), tmp_path / "new" / "out"
    result = dtsvibe(source, out)
    assert_one_sentence(result, naming=source)
    assert not (tmp_path / "new").exists()


def assert_one_sentence(result: Result, *, naming: object) -> None:
    """Exit 1, nothing on stdout, one line on stderr, no traceback."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert str(naming) in line
    assert line.endswith(".")


def test_a_webcam_has_a_number(tmp_path: Path, dtsvibe: Callable[..., Result]) -> None:
    out = tmp_path / "out"
    result = dtsvibe("webcam:front", out)
    assert_one_sentence(result, naming="'webcam:front'")
    assert not out.exists()


def damaged(path: Path) -> Path:
    path.write_bytes(b"damaged" * 100)
    return path


def of_another_network(path: Path) -> Path:
    from dtsvibe_cli.weights import find

    return find("movenet_multipose")[0]


@pytest.mark.parametrize(
    ("option", "make"),
    [
        ("--weights", lambda path: path),
        ("--weights", damaged),
        ("--weights", of_another_network),
        ("--body-model", lambda path: path),
        ("--body-model", damaged),
        ("--body-model", lambda path: damaged(path.with_suffix(".pkl"))),
        ("--body-model", lambda path: damaged(path.with_suffix(".npz"))),
        ("--flow", lambda path: path),
        ("--flow", damaged),
    ],
)
def test_files_of_another_kind_are_one_sentence(
    option: str,
    make: Callable[[Path], Path],
    one_frame: Path,
    tmp_path: Path,
    dtsvibe: Callable[..., Result],
) -> None:
    file = make(tmp_path / "file.safetensors")
    result = dtsvibe(one_frame, tmp_path / "out", option, file)
    assert_one_sentence(result, naming=file)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "naming"),
    [
        (("--view", "below"), "'below'"),
        (("--focal", "long"), "'long'"),
        (("--device", "abacus"), "'abacus'"),
        (("--detector", "crystal_ball"), "crystal_ball"),
        (("--detector", "yolo_of_nobody"), "--allow-download"),
        (("--start", "5"), "one.mp4"),
        (("--start", "2", "--end", "1"), "the start (2 s)"),
        (("--track-id", "7"), "no person 7"),
        (("--frame-rate", "25"), "one.mp4"),
    ],
)
def test_options_that_cannot_be_met_are_one_sentence(
    options: tuple[str, ...],
    naming: str,
    one_frame: Path,
    tmp_path: Path,
    dtsvibe: Callable[..., Result],
) -> None:
    result = dtsvibe(one_frame, tmp_path / "out", *options)
    assert_one_sentence(result, naming=naming)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_found_out_at_once(
    clip: Path, tmp_path: Path, dtsvibe: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(pipeline, "estimate_video", None)  # would be called in vain
    out = tmp_path / "file" / "out"
    assert_one_sentence(dtsvibe(clip, out), naming=out)
    assert everything_in(tmp_path) == [tmp_path / "file"]


def test_results_are_replaced_only_when_told(
    one_frame: Path, tmp_path: Path, dtsvibe: Callable[..., Result]
) -> None:
    report = ResultPaths.of(tmp_path, one_frame).report
    report.write_text("of an earlier run")
    assert_one_sentence(dtsvibe(one_frame, tmp_path), naming=report)
    assert everything_in(tmp_path) == [report]
    assert dtsvibe(one_frame, tmp_path, "--no-render", "--overwrite").exit_code == 0
    assert json.loads(report.read_text())["num_frames"] == 1


@pytest.mark.parametrize("error", [VideoError("The disk is full."), KeyboardInterrupt()])
def test_a_run_that_breaks_off_leaves_whole_files_only(
    error: BaseException,
    one_frame: Path,
    tmp_path: Path,
    dtsvibe: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Motion that took long to find is kept when only its drawing fails."""

    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("dtsvibe_cli.stages.overlay.draw_frame", fail)
    result = dtsvibe(one_frame, tmp_path / "out")
    assert result.exit_code == (130 if isinstance(error, KeyboardInterrupt) else 1)
    paths = ResultPaths.of(tmp_path / "out", one_frame)
    assert set(everything_in(tmp_path / "out")) == {paths.motion, paths.vibe}
    assert load_results(paths.motion).people


def test_a_video_without_people_is_no_error(
    nobody: Path, tmp_path: Path, dtsvibe: Callable[..., Result]
) -> None:
    out = tmp_path / "out"
    result = dtsvibe(nobody, out)
    assert result.exit_code == 0, result.output
    assert f"Nobody was found in {nobody}" in result.stderr
    paths = ResultPaths.of(out, nobody)
    written = [paths.motion, paths.vibe, paths.report]
    assert result.stdout.splitlines() == [str(path) for path in written]
    assert everything_in(out) == sorted(written)
    assert load_results(out).people == ()
    report = json.loads(paths.report.read_text())
    assert (report["num_frames"], report["people"]) == (30, [])


def test_nobody_leaves_no_overlay_of_an_earlier_run(
    nobody: Path, tmp_path: Path, dtsvibe: Callable[..., Result]
) -> None:
    earlier = ResultPaths.of(tmp_path, nobody).overlay
    earlier.write_text("somebody")
    assert dtsvibe(nobody, tmp_path, "--end", 0.1, "--overwrite").exit_code == 0
    assert not earlier.exists()


def test_a_single_frame_is_a_video(
    one_frame: Path, tmp_path: Path, dtsvibe: Callable[..., Result]
) -> None:
    result = dtsvibe(one_frame, tmp_path, "--refine")
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 4
    (person,) = load_results(tmp_path).people
    assert person.track.frame_index.tolist() == [0]
    assert np.isfinite(person.joints_cam).all()


def test_odd_sizes(folder: Path, tmp_path: Path, dtsvibe: Callable[..., Result]) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    for index, rgb in enumerate(pictures(3)):
        small = cv2.resize(rgb, (321, 181), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(frames / f"{index:03d}.png"), small[..., ::-1])
    out = tmp_path / "out"
    result = dtsvibe(frames, out, "--frame-rate", "24")
    assert result.exit_code == 0, result.output
    motion = load_results(out)
    assert (motion.video.width_px, motion.video.height_px) == (321, 181)
    assert motion.video.frame_rate == Fraction(24)
    assert motion.camera.center_px == (160.5, 90.5)
    (person,) = motion.people
    assert ((person.joints_px > -50) & (person.joints_px < [371, 231])).all()
    assert sum(1 for _ in read_frames(ResultPaths.of(out, frames).overlay)) == 3


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
        one_frame, detector="yolo11n", allow_download=allowed, weights=_tiny(tmp_path), refine=False
    )
    assert asked == [("yolo11n", allowed)]


def test_a_network_in_memory_does_what_its_file_does(clip: Path, tmp_path: Path) -> None:
    """Dropout and all: it is made ready for inference."""
    network = load_network(_tiny(tmp_path)).train()
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
    motion, _ = estimate_video(nobody, detector=Blind(), weights=_tiny(tmp_path), end_s=0.1)
    assert isinstance(motion, VideoMotion)
    render_video(motion, tmp_path / "drawn.mp4", renderer="numpy")
    assert sum(1 for _ in read_frames(tmp_path / "drawn.mp4")) == 3


def _tiny(folder: Path) -> Path:
    return save_network(build(TINY), folder / "tiny.safetensors", {})[0]
