from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sequence_examples import random_sequence

from dtsvibe_cli.errors import DataError
from dtsvibe_cli.training.sequences import (
    TrainingSequence,
    read_sequence,
    sequence_files,
    write_sequence,
)


@pytest.mark.parametrize("appearance", [None, 12])
def test_a_sequence_comes_back_as_it_was(tmp_path: Path, appearance: int | None) -> None:
    sequence = random_sequence(appearance=appearance)
    path = write_sequence(tmp_path, sequence)
    assert path == tmp_path / "made_up" / "yard" / "person0.npz"
    back = read_sequence(path)
    assert (back.name, back.dataset, back.rate_hz) == ("yard/person0", "made_up", 30.0)
    assert back.arrays().keys() == sequence.arrays().keys()
    for name, array in sequence.arrays().items():
        np.testing.assert_array_equal(back.arrays()[name], array)
    assert np.load(path)["flow"].shape == (40, 2, 8, 8)  # numpy reads it too


def test_rows_are_a_shorter_sequence_of_their_own(tmp_path: Path) -> None:
    whole = read_sequence(write_sequence(tmp_path, random_sequence()))
    part = whole.rows(np.array([3, 5, 5]))
    assert part.num_frames == 3
    np.testing.assert_array_equal(part.flow, whole.flow[[3, 5, 5]])
    np.testing.assert_array_equal(part.betas, whole.betas)
    part.flow[:] = 0  # memory of its own, unlike the file's


def test_files_are_listed_by_name_and_unfinished_ones_are_not(tmp_path: Path) -> None:
    paths = [write_sequence(tmp_path, random_sequence(4, name=name)) for name in ("b/0", "a/1")]
    (tmp_path / "made_up" / ".a.1.part.npz").write_bytes(b"half")
    assert sequence_files(tmp_path) == sorted(paths)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no prepared sequences"):
        sequence_files(tmp_path / "empty")
    with pytest.raises(DataError, match="There is no folder"):
        sequence_files(tmp_path / "missing")


def saved(tmp_path: Path, sequence: TrainingSequence, **changes: Any) -> Path:
    """A file with other arrays than a sequence has; None leaves one out."""
    path = write_sequence(tmp_path, sequence)
    arrays = {**np.load(path), **changes}
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"joints_m": np.zeros((40, 23, 3), np.float32)}, r"joints_m is float32 of shape"),
        ({"seen": np.zeros(39, bool)}, "seen is bool of shape"),
        ({"betas": np.zeros(10)}, "betas is float64"),
        ({"flow": None}, "it has no flow"),
        ({"flow": np.zeros((40, 2, 8, 9), np.float16)}, "flow is float16 of shape"),
        ({"meta": np.array('{"format": "other", "version": 1}')}, "it holds 'other'"),
        ({"meta": np.array("no json")}, "Expecting value"),
        ({"meta": None}, "it has no 'meta'"),
    ],
)
def test_a_file_that_does_not_fit_is_one_clear_error(
    tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    path = saved(tmp_path, random_sequence(), **changes)
    with pytest.raises(DataError, match=complaint) as error:
        read_sequence(path)
    assert "dtsvibe prepare" in str(error.value)
    assert str(path) in str(error.value)


def test_damaged_compressed_and_missing_files_are_errors(tmp_path: Path) -> None:
    path = write_sequence(tmp_path, random_sequence())
    content = path.read_bytes()
    np.savez_compressed(path, **np.load(path))
    with pytest.raises(DataError, match="compressed"):
        read_sequence(path)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="not a zip file"):
        read_sequence(path)
    path.write_bytes(b"")
    with pytest.raises(DataError):
        read_sequence(path)
    with pytest.raises(DataError, match="No such file"):
        read_sequence(tmp_path / "none.npz")


def test_nothing_that_is_not_finite_is_written(tmp_path: Path) -> None:
    sequence = random_sequence()
    labels = sequence.joints_m.copy()
    labels[3, 2, 1] = np.nan
    with pytest.raises(ValueError, match="joints_m of yard/person0 is not finite"):
        write_sequence(tmp_path, replace(sequence, joints_m=labels))
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize("name", ["", "a//b", "../a", "a/../../b", "/a", "a/"])
def test_names_stay_inside_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be the name"):
        write_sequence(tmp_path, random_sequence(2, name=name))
