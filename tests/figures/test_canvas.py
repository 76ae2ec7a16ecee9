import sys
from pathlib import Path

import pytest

from dtsvibe_cli.errors import ConfigError
from dtsvibe_cli.figures.canvas import check_target, figure_to_save


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_each_format_is_written_whole(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"figure{suffix}"
    check_target(out, overwrite=False)
    with figure_to_save(out, height_in=1.0) as figure:
        figure.subplots().set_xlabel("time (s)")
    start = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}[suffix]
    assert out.read_bytes().startswith(start)
    assert list(tmp_path.iterdir()) == [out]


def test_nothing_is_left_when_drawing_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), figure_to_save(tmp_path / "figure.png", height_in=1.0):
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []


def test_an_old_figure_stays_unless_told(tmp_path: Path) -> None:
    old = tmp_path / "figure.png"
    old.write_bytes(b"old")
    with pytest.raises(ConfigError, match="give --overwrite"):
        check_target(old, overwrite=False)
    check_target(old, overwrite=True)


@pytest.mark.parametrize("name", ["figure", "figure.gif"])
def test_other_formats_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"must end in one of \.png, \.pdf, \.svg"):
        check_target(tmp_path / name, overwrite=False)


def test_without_matplotlib_the_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match=r"pip install 'dtsvibe\[figures\]'"):
        check_target(tmp_path / "figure.png", overwrite=False)
