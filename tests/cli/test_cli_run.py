import inspect
import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import Result

from dtsvibe_cli.cli.run import run
from dtsvibe_cli.datatypes import (
    PersonMotion,
    SmplParams,
    Track,
    VideoMotion,
    WeakPerspectiveCamera,
)
from dtsvibe_cli.errors import VideoError

if TYPE_CHECKING:
    from cli.conftest import FakePipeline

Call = Callable[..., Result]

NOT_IN_THE_API = {"source", "out", "as_json", "quiet", "debug"}
OF_THE_RUN_ONLY = {"render", "verts", "overwrite"}


def defaults_of(function: Callable[..., Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def test_options_are_the_keywords_of_the_api() -> None:
    pipeline = pytest.importorskip("dtsvibe_cli.pipeline", reason="not written yet")
    api = defaults_of(pipeline.estimate_video) | defaults_of(pipeline.render_video)
    del api["on_progress"], api["source"]
    options = {
        name: value
        for name, value in run.make_context("run", ["x.mp4"]).params.items()
        if name not in NOT_IN_THE_API | OF_THE_RUN_ONLY
    }
    assert options == api


def test_everything_given_reaches_the_pipeline(pipeline: "FakePipeline", dtsvibe: Call) -> None:
    flags = "--detector yolo11n --detect-every 2 --tracker botsort --focal 35mm --no-refine"
    flags += " --smooth 0.1 --start 1 --end 2.5 --max-people 2 --track-id 3 --frame-rate 29.97"
    flags += " --no-render --verts --view side --opacity 0.5 --wireframe --ids --overwrite"
    flags += " --allow-download"
    flags += " --body-model smpl.pkl --weights mine.safetensors --flow raft_small.pth"
    result = dtsvibe("run", "frames", "--out", "results", *flags.split())
    assert result.exit_code == 0, result.output
    source, out, keywords = pipeline.calls[0]
    assert (source, out) == ("frames", Path("results"))
    expected = {
        "detector": "yolo11n",
        "allow_download": True,
        "detect_every": 2,
        "tracker": "botsort",
        "focal": "35mm",
        "refine": False,
        "smooth_s": 0.1,
        "start_s": 1.0,
        "end_s": 2.5,
        "max_people": 2,
        "track_id": 3,
        "frame_rate": Fraction(2997, 100),
        "render": False,
        "verts": True,
        "view": "side",
        "opacity": 0.5,
        "wireframe": True,
        "show_ids": True,
        "overwrite": True,
        "body_model": Path("smpl.pkl"),
        "weights": "mine.safetensors",
        "flow": "raft_small.pth",
    }
    assert {name: keywords[name] for name in expected} == expected


def test_paths_are_all_that_stdout_gets(pipeline: "FakePipeline", dtsvibe: Call) -> None:
    result = dtsvibe("run", "x.mp4", "--out", "o")
    expected = [str(Path("o") / "x_smpl.npz"), str(Path("o") / "x_report.json")]
    assert result.stdout.splitlines() == expected


def test_nobody_found_is_a_message_and_no_error(pipeline: "FakePipeline", dtsvibe: Call) -> None:
    result = dtsvibe("run", "x.mp4")
    assert result.exit_code == 0
    assert "Nobody was found in x.mp4" in result.stderr


def _person(track_id: int, num_frames: int) -> PersonMotion:
    def zeros(*shape: int) -> np.ndarray:
        return np.zeros((num_frames, *shape), dtype=np.float32)

    return PersonMotion(
        track=Track(
            track_id=track_id,
            frame_index=np.arange(num_frames) + 5,
            boxes_xyxy=zeros(4),
            scores=zeros(),
        ),
        smpl=SmplParams(
            global_orient=zeros(3, 3), body_pose=zeros(23, 3, 3), betas=zeros(10), transl=zeros(3)
        ),
        camera=WeakPerspectiveCamera(scale=zeros(), tx=zeros(), ty=zeros()),
        crops_cxcys=zeros(3),
        joints_cam=zeros(24, 3),
        joints_px=zeros(24, 2),
        observed=np.ones(num_frames, dtype=bool),
    )


def test_json_is_one_object(
    pipeline: "FakePipeline", dtsvibe: Call, empty_motion: VideoMotion
) -> None:
    pipeline.motion = replace(empty_motion, people=(_person(4, 3),))
    result = dtsvibe("run", "x.mp4", "--json")
    summary = json.loads(result.stdout)
    assert summary["written"] == [
        str(Path("out") / "x_smpl.npz"),
        str(Path("out") / "x_report.json"),
    ]
    assert summary["people"] == [
        {"track_id": 4, "first_frame": 5, "last_frame": 7, "num_frames": 3}
    ]
    assert summary["report"] == {"seconds": {"decode": 0.5}}
    assert "Nobody" not in result.stderr


def test_a_bad_video_is_one_sentence(pipeline: "FakePipeline", dtsvibe: Call) -> None:
    pipeline.error = VideoError("There is no x.mp4: check the path.")
    result = dtsvibe("run", "x.mp4")
    assert result.exit_code == 1
    assert (result.stdout, result.stderr) == ("", "Error: There is no x.mp4: check the path.\n")


def test_ctrl_c(pipeline: "FakePipeline", dtsvibe: Call) -> None:
    pipeline.error = KeyboardInterrupt()
    assert dtsvibe("run", "x.mp4").exit_code == 130


@pytest.mark.parametrize(
    "option",
    [
        ("--frame-rate", "0"),
        ("--frame-rate", "fast"),
        ("--frame-rate", "1/0"),
        ("--detect-every", "0"),
        ("--window-stride", "0"),
        ("--opacity", "1.5"),
        ("--smooth", "-1"),
        ("--tracker", "guess"),
        ("--end", "0"),
    ],
)
def test_impossible_options_are_usage_errors(
    pipeline: "FakePipeline", dtsvibe: Call, option: tuple[str, str]
) -> None:
    result = dtsvibe("run", "x.mp4", *option)
    assert result.exit_code == 2
    assert option[0] in result.stderr
    assert pipeline.calls == []
