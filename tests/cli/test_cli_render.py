import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import Result

from dtsvibe_cli.datatypes import VideoMotion
from dtsvibe_cli.results import save_results

if TYPE_CHECKING:
    from cli.conftest import FakePipeline

Call = Callable[..., Result]


@pytest.fixture
def saved(tmp_path: Path, empty_motion: VideoMotion) -> Path:
    save_results(empty_motion, tmp_path / "walk_smpl.npz")
    return tmp_path


def test_it_draws_beside_the_results(pipeline: "FakePipeline", dtsvibe: Call, saved: Path) -> None:
    for results in (saved, saved / "walk_smpl.npz"):
        result = dtsvibe("render", results, "--view", "side", "--source", "elsewhere.mp4")
        assert result.exit_code == 0, result.output
        assert result.stdout == f"{saved / 'walk_overlay.mp4'}\n"
        motion, _, keywords = pipeline.calls[-1]
        assert motion.video.path == Path("clips/walk.mp4")
        assert keywords["view"] == "side"
        assert keywords["source"] == Path("elsewhere.mp4")


def test_it_replaces_a_video_only_when_told(
    pipeline: "FakePipeline", dtsvibe: Call, saved: Path
) -> None:
    (saved / "walk_overlay.mp4").write_bytes(b"old")
    result = dtsvibe("render", saved)
    assert result.exit_code == 1
    assert "give --overwrite" in result.stderr
    assert pipeline.calls == []
    assert dtsvibe("render", saved, "--overwrite").exit_code == 0
    assert dtsvibe("render", saved, "--out", saved / "other.mp4").exit_code == 0


def test_json(pipeline: "FakePipeline", dtsvibe: Call, saved: Path) -> None:
    result = dtsvibe("render", saved, "--json", "--out", "a.mp4")
    assert json.loads(result.stdout) == {"written": ["a.mp4"]}


def test_missing_results_are_one_sentence(
    pipeline: "FakePipeline", dtsvibe: Call, tmp_path: Path
) -> None:
    result = dtsvibe("render", tmp_path / "none")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: There is no")
