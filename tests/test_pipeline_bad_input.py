"""What becomes of bad input, of interruptions, and of videos that are hardly any."""

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import Result
from pipeline_clips import assert_one_sentence, everything_in, pictures

from dtsvibe_cli import (
    load_results,
    pipeline,
)
from dtsvibe_cli.errors import VideoError
from dtsvibe_cli.results import ResultPaths
from dtsvibe_cli.video import read_frames
from dtsvibe_cli.weights import find


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


def test_a_webcam_has_a_number(tmp_path: Path, dtsvibe: Callable[..., Result]) -> None:
    out = tmp_path / "out"
    result = dtsvibe("webcam:front", out)
    assert_one_sentence(result, naming="'webcam:front'")
    assert not out.exists()


def damaged(path: Path) -> Path:
    path.write_bytes(b"damaged" * 100)
    return path


def of_another_network(path: Path) -> Path:

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

    monkeypatch.setattr("dtsvibe_cli.stages.overlay._draw_panels", fail)
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


@pytest.mark.parametrize("flag", ["--render", "--no-render"])
def test_no_overlay_of_an_earlier_run_stays(
    flag: str, nobody: Path, tmp_path: Path, dtsvibe: Callable[..., Result]
) -> None:
    earlier = ResultPaths.of(tmp_path, nobody).overlay
    earlier.write_text("somebody")
    assert_one_sentence(dtsvibe(nobody, tmp_path, "--end", 0.1, flag), naming=earlier)
    assert dtsvibe(nobody, tmp_path, "--end", 0.1, flag, "--overwrite").exit_code == 0
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
