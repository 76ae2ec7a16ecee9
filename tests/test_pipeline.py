"""The whole way from a file to results."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pipeline_clips import EXAMPLES, NUM_FRAMES, QUICK, arrays_of, everything_in, tiny_network

from dtsvibe_cli import (
    estimate_video,
    load_results,
    pipeline,
    render_video,
    run,
    save_results,
    save_vibe_pickle,
)
from dtsvibe_cli.datatypes import Detections, Frame
from dtsvibe_cli.errors import ConfigError, VideoError
from dtsvibe_cli.results import ResultPaths
from dtsvibe_cli.streaming import Stages
from dtsvibe_cli.synthetic.clip import FRAME_RATE
from dtsvibe_cli.synthetic.truth import load_truth
from dtsvibe_cli.video import probe, read_frames
from dtsvibe_cli.weights import find


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
    (track,) = report["tracks"]
    assert (track["kind"], track["person"]) == ("kept", 1)
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


def test_python_takes_paths_as_text(
    one_frame: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    body = str(find("body7k")[0])
    made = run(
        str(one_frame),
        "out",
        weights=str(tiny_network(tmp_path)),
        body_model=body,
        renderer="numpy",
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
