import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from dtsvibe_cli import builders, weights
from dtsvibe_cli.cli import main


def test_list_names_everything() -> None:
    result = CliRunner().invoke(main, ["weights", "list"])
    assert result.exit_code == 0, result.output
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert [row[0] for row in rows] == list(weights.registry())


def test_verify_says_ok_for_each() -> None:
    result = CliRunner().invoke(main, ["weights", "verify"])
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [f"{name}: ok" for name in weights.registry()]


def test_verify_goes_on_after_a_bad_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "weights"
    shutil.copytree(weights.weights_dir(), folder)
    (file,) = weights.spec("blazepose_landmark_full").files
    (folder / file.name).unlink()
    monkeypatch.setenv("DTSVIBE_WEIGHTS", str(folder))
    result = CliRunner().invoke(main, ["weights", "verify"])
    assert result.exit_code == 1
    assert "blazepose_landmark_full: bad" in result.stdout
    assert "movenet_multipose: ok" in result.stdout
    assert f"{file.name} is missing" in result.stderr
    assert "Traceback" not in result.output


def test_build_compares_with_the_released_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(name: str, folder: Path) -> Path:
        (released,) = weights.find(name)
        folder.mkdir()
        return Path(shutil.copy(released, folder))

    monkeypatch.setattr(builders, "build", build)
    out = str(tmp_path / "out")
    result = CliRunner().invoke(main, ["weights", "build", "movenet_multipose", "--out", out])
    assert result.exit_code == 0, result.output
    assert Path(result.stdout.strip()).parent == tmp_path / "out"
    assert "equals the released file" in result.stderr


def test_unknown_names_are_one_sentence() -> None:
    for command in ("verify", "build"):
        result = CliRunner().invoke(main, ["weights", command, "nothing"])
        assert result.exit_code == 1
        assert "'nothing': choose from" in result.stderr
