import pickle
import tempfile

import numpy as np
import pytest

from dtsvibe_cli import stored_rows
from dtsvibe_cli.errors import ResultsError
from dtsvibe_cli.stored_rows import ChosenRows, RowFile


def filled(num_rows: int, seed: int = 0) -> tuple[RowFile, np.ndarray]:
    array = np.random.default_rng(seed).normal(size=(num_rows, 2, 3)).astype(np.float16)
    rows = RowFile((2, 3), np.float16)
    for row in array:
        rows.append(row)
    return rows, array


@pytest.mark.parametrize("in_memory_bytes", [0, 40, 10_000])
def test_rows_are_indexed_as_an_array_is(
    in_memory_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_rows, "_IN_MEMORY_BYTES", in_memory_bytes)
    rows, array = filled(20)
    assert (len(rows), rows.shape, rows.dtype) == (20, array.shape, array.dtype)
    for index in (3, -1, slice(None), slice(4, 9), slice(0, 0), np.array([5, 5, 2, 19])):
        np.testing.assert_array_equal(rows[index], array[index])
    rows.append(array[0])  # after it was read
    np.testing.assert_array_equal(rows[:], np.concatenate([array, array[:1]]))
    with pytest.raises(IndexError):
        rows[21]


def test_what_is_read_is_ones_own() -> None:
    rows, array = filled(3)
    rows[1][:] = 0
    np.testing.assert_array_equal(rows[:], array)


def test_chosen_rows_of_several_arrays() -> None:
    (first, a), (second, b) = filled(5, seed=1), filled(4, seed=2)
    chosen = np.array([8, 0, 5, 4, 4])
    rows = ChosenRows([first, b], chosen)
    np.testing.assert_array_equal(rows[:], np.concatenate([a, b])[chosen])
    np.testing.assert_array_equal(rows[np.array([3, 0])], np.concatenate([a, b])[chosen[[3, 0]]])
    np.testing.assert_array_equal(ChosenRows([rows, second], np.array([0, 6]))[:], b[[3, 1]])


def test_a_row_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        RowFile((3,), np.float32).append(np.zeros(4))


def test_a_full_disk_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = RowFile((3,), np.float32)

    def full(data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rows._file, "write", full)
    with pytest.raises(ResultsError, match=f"{tempfile.gettempdir()}.*No space left.*TMPDIR"):
        rows.append(np.zeros(3))


def test_pickled_as_an_array() -> None:
    rows = RowFile((2, 3), np.float32)
    for k in range(5):
        rows.append(np.full((2, 3), k, np.float32))
    copy = pickle.loads(pickle.dumps(rows))
    assert isinstance(copy, np.ndarray)
    np.testing.assert_array_equal(copy, rows[:])
