"""The three commands that draw the paper's figures, on the truth of the bundled clip."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from made_results import TRUTH, made_motion, save, shaken, true_person

from dtsvibe_cli.figures import attention, rows

Call = Callable[..., Result]


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    person = true_person(np.arange(150))
    shaky = save(made_motion(shaken(person, 0.002)), tmp_path / "shaky")
    return save(made_motion(person), tmp_path / "calm"), shaky


def test_acceleration_prints_the_path_and_the_means(
    dtsvibe: Call, runs: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "accel.png"
    result = dtsvibe("acceleration", *runs, "--truth", TRUTH, "--frames", "3,70,140", "-o", out)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out}\n"
    assert out.is_file()
    lines = result.stderr.splitlines()
    assert lines[0] == "calm: mean 0.00 mm/frame^2"
    assert lines[1].startswith("shaky: mean 10.")


def test_figure_draws_rows(
    dtsvibe: Call, runs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "_PANEL_HEIGHT_PX", 120)
    out = tmp_path / "rows.png"
    args = ("figure", *runs, "--label", "a", "--label", "b", "--renderer", "numpy", "-o", out)
    result = dtsvibe(*args)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out}\n"
    refused = dtsvibe(*args)
    assert refused.exit_code == 1
    assert "give --overwrite" in refused.stderr


def test_attention_says_when_there_are_fewer_windows(
    dtsvibe: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def draw(sources: object, out: Path, **keywords: object) -> attention.AttentionMaps:
        calls.append((sources, out, keywords))
        return attention.AttentionMaps(mean=np.zeros((8, 16, 16)), num_windows=12)

    monkeypatch.setattr(attention, "draw_attention", draw)
    out = tmp_path / "attention.png"
    result = dtsvibe("attention", "walk.mp4", "--windows", 50, "--out", out)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out}\n"
    assert "Averaged over 12 windows" in result.stderr
    assert calls[0][0] == (Path("walk.mp4"),)
    assert calls[0][2]["windows"] == 50  # type: ignore[index]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("attention",), "either videos or --motion"),
        (("figure", "nowhere"), "There is no nowhere"),
        (("acceleration", "nowhere", "--truth", "none.npz"), "none.npz"),
    ],
)
def test_mistakes_are_one_sentence(
    dtsvibe: Call, tmp_path: Path, args: tuple[str, ...], message: str
) -> None:
    result = dtsvibe(*args, "--out", tmp_path / "x.png")
    assert result.exit_code == 1
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_frames_are_numbers(dtsvibe: Call, tmp_path: Path) -> None:
    result = dtsvibe("figure", "run", "--frames", "3,x", "--out", tmp_path / "x.png")
    assert result.exit_code == 2
    assert "are no frames" in result.stderr
