import io
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtsvibe_cli import stored_rows
from dtsvibe_cli.errors import ResultsError
from dtsvibe_cli.stored_rows import ChosenRows, RowFile, _SharedFile


@pytest.fixture(autouse=True)
def files(monkeypatch: pytest.MonkeyPatch) -> weakref.WeakValueDictionary:
    """The files that are open; what another test left behind is not among them."""
    files = weakref.WeakValueDictionary[tuple[int, int], _SharedFile]()
    monkeypatch.setattr(_SharedFile, "_open", files)
    return files


def filled(num_rows: int, seed: int = 0) -> tuple[RowFile, np.ndarray]:
    array = np.random.default_rng(seed).normal(size=(num_rows, 2, 3)).astype(np.float16)
    rows = RowFile((2, 3), np.float16)
    for row in array:
        rows.append(row)
    return rows, array


@pytest.mark.parametrize("in_memory_bytes", [1, 40, 10_000])
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


@settings(max_examples=60, deadline=None)
@given(data=st.data(), steps=st.lists(st.integers(-4, 3), max_size=100))
def test_arrays_that_grow_in_turn_do_not_mix(data: st.DataObject, steps: list[int]) -> None:
    """A row more for one of four arrays, or (negative) one of them goes and a new one begins."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored_rows, "_BLOCK_BYTES", data.draw(st.sampled_from([1, 36, 1000])))
        patch.setattr(stored_rows, "_IN_MEMORY_BYTES", data.draw(st.sampled_from([1, 300, 10_000])))
        patch.setattr(_SharedFile, "_open", weakref.WeakValueDictionary())
        arrays = [RowFile((2, 3), np.float16) for _ in range(4)]
        expected: list[list[np.ndarray]] = [[] for _ in arrays]
        for number, step in enumerate(steps):
            if step < 0:
                arrays[step], expected[step] = RowFile((2, 3), np.float16), []
            else:
                row = 6 * number + np.arange(6).reshape(2, 3)
                arrays[step].append(row)
                expected[step].append(row)
        for rows, plain in zip(arrays, expected, strict=True):
            array = np.array(plain, np.float16).reshape(-1, 2, 3)
            some = st.lists(st.integers(0, len(array) - 1)) if plain else st.just([])
            chosen = np.array(data.draw(some), int)
            stretch = data.draw(st.slices(len(array)))
            np.testing.assert_array_equal(rows[:], array)
            np.testing.assert_array_equal(rows[chosen], array[chosen])
            np.testing.assert_array_equal(rows[stretch], array[stretch])


def test_memory_and_open_files_do_not_grow_with_the_number_of_arrays(
    files: weakref.WeakValueDictionary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_rows, "_IN_MEMORY_BYTES", 10_000)
    monkeypatch.setattr(stored_rows, "_BLOCK_BYTES", 400)
    arrays = []
    for _ in range(100):  # 150 rows of 12 bytes are far below the limit in each
        arrays.append(filled(150)[0])
        held = [file._file._file for file in files.values()]
        assert len(held) == 1
        if isinstance(held[0], io.BytesIO):
            assert held[0].getbuffer().nbytes <= 10_000
    assert not isinstance(held[0], io.BytesIO)
    np.testing.assert_array_equal(arrays[-1][:], filled(150)[1])


def test_what_dropped_arrays_took_is_used_again(files: weakref.WeakValueDictionary) -> None:
    kept = filled(3)
    for seed in range(50):
        rows, array = filled(3, seed)
        np.testing.assert_array_equal(rows[:], array)
        del rows
    (file,) = files.values()
    assert file._num_blocks <= 3
    np.testing.assert_array_equal(kept[0][:], kept[1])
    inner = file._file
    del file, kept
    assert inner.closed
    assert not files


def test_a_long_array_is_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_rows, "_BLOCK_BYTES", 100)
    rows, array = filled(1000)
    other = RowFile((5,), np.float32)  # grows at the same time, in rows of another size
    other.append(np.zeros(5))
    reads = []
    read = rows._file._file.read
    monkeypatch.setattr(rows._file._file, "read", lambda size: reads.append(size) or read(size))
    np.testing.assert_array_equal(rows[100:900], array[100:900])
    assert reads == [800 * 12]
    rows[np.array([0, 999])]  # far apart: nothing between them
    assert reads[1:] == [12, 12]


def test_arrays_of_one_file_are_read_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_rows, "_IN_MEMORY_BYTES", 1)
    pairs = [filled(200, seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(lambda k: pairs[k % 4][0][k % 7 :: 7], range(200)))
    for k, rows in enumerate(read):
        np.testing.assert_array_equal(rows, pairs[k % 4][1][k % 7 :: 7])


def test_a_forked_process_has_files_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    parents, array = filled(4)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    childs, same = filled(4, seed=1)
    assert childs._file is not parents._file
    np.testing.assert_array_equal(childs[:], same)
    np.testing.assert_array_equal(parents[:], array)


@pytest.mark.skipif(sys.platform == "win32", reason="a process that is killed there says nothing")
def test_nothing_is_left_of_a_killed_process(tmp_path: Path) -> None:
    program = """
import os, signal, numpy as np
from dtsvibe_cli import stored_rows
stored_rows._IN_MEMORY_BYTES = 1
rows = stored_rows.RowFile((2, 3), np.float16)
rows.append(np.ones((2, 3)))
print(rows[0].sum(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    ended = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True)
    assert (ended.returncode, ended.stdout) == (-signal.SIGKILL, b"6.0\n")
    assert list(tmp_path.iterdir()) == []


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

    monkeypatch.setattr(rows._file._file, "write", full)
    with pytest.raises(ResultsError, match=f"{tempfile.gettempdir()}.*No space left.*TMPDIR"):
        rows.append(np.zeros(3))


def test_pickled_as_an_array() -> None:
    rows = RowFile((2, 3), np.float32)
    for k in range(5):
        rows.append(np.full((2, 3), k, np.float32))
    copy = pickle.loads(pickle.dumps(rows))
    assert isinstance(copy, np.ndarray)
    np.testing.assert_array_equal(copy, rows[:])
