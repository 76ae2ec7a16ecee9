"""Arrays that grow row by row in a temporary file, read back a few rows at a time.

What is seen of a person takes kilobytes a frame; of long videos only a part is ever in memory.
Arrays whose rows take equally many bytes share one file, so that neither memory nor open files grow
with the number of arrays: a video with cuts has hundreds of short ones.
"""

import os
import tempfile
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from jaxtyping import Int, UInt8

from dtsvibe_cli.errors import ResultsError

_IN_MEMORY_BYTES: Final = 1 << 22
"""A file this small never reaches the disk."""

_BLOCK_BYTES: Final = 1 << 16
"""About what an array takes of its file at a time: of many that grow in turn, each is still read in
long stretches."""


class StoredRows(ABC):
    """Rows of one array, indexed along the first axis only; what is indexed is in memory."""

    shape: tuple[int, ...]
    """Of the whole array."""
    dtype: np.dtype[Any]
    """Of the numbers."""

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: int | slice | Int[np.ndarray, " row"]) -> Any:
        chosen = np.arange(len(self))[rows]
        found = self._read(np.atleast_1d(chosen))
        return found if np.ndim(chosen) else found[0]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as the array that it holds: the file goes with the process."""
        return np.asarray, (self[:],)

    @abstractmethod
    def _read(self, rows: Int[np.ndarray, " row"]) -> np.ndarray: ...


class _SharedFile:
    """Rows of equally many bytes of all arrays of this process, in blocks of some rows each.

    Small it stays in memory; larger it is a file that nobody else sees. It goes with the last of
    its arrays; until then the blocks of those that went before are used again.
    """

    _open: Final = weakref.WeakValueDictionary[tuple[int, int], "_SharedFile"]()
    """By process and bytes of a row: what a forked process adds must not get into its parent's."""

    def __init__(self, row_bytes: int) -> None:
        self.block_rows = max(1, _BLOCK_BYTES // row_bytes)
        self.free_blocks: list[int] = []
        self._num_blocks = 0
        self._row_bytes = row_bytes
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115
        self._lock = threading.Lock()
        weakref.finalize(self, self._file.close)

    @classmethod
    def of(cls, row_bytes: int) -> "_SharedFile":
        """The one for rows of so many bytes."""
        file = cls._open.get((os.getpid(), row_bytes))
        if file is None:
            file = cls._open[os.getpid(), row_bytes] = cls(row_bytes)
        return file

    def take_block(self) -> int:
        """The number of a block that nobody uses."""
        with self._lock:
            if self.free_blocks:
                return self.free_blocks.pop()
            self._num_blocks += 1
            return self._num_blocks - 1

    def write(self, place: int, row: bytes) -> None:
        """Put a row in its place, counted in rows from the beginning of the file."""
        with self._lock:
            self._file.seek(place * self._row_bytes)
            self._file.write(row)
            self._file.flush()  # a full disk is told here, not when the next row is read

    def read(self, places: Int[np.ndarray, " row"]) -> UInt8[np.ndarray, "row byte"]:
        """The rows at these places; those that stand one after the other are read at once."""
        found = np.empty((len(places), self._row_bytes), np.uint8)
        begins = np.flatnonzero(np.diff(places, prepend=-2) != 1)
        ends = [*begins[1:], len(places)]
        with self._lock:
            for begin, end in zip(begins, ends, strict=True):
                self._file.seek(int(places[begin]) * self._row_bytes)
                data = self._file.read(int(end - begin) * self._row_bytes)
                found[begin:end] = np.frombuffer(data, np.uint8).reshape(-1, self._row_bytes)
        return found


class RowFile(StoredRows):
    """One array that grows; its rows are in memory or on disk, in a file shared with others."""

    def __init__(self, shape: tuple[int, ...], dtype: type[np.generic]) -> None:
        """Begin without rows.

        Args:
            shape: Of a row.
            dtype: Of the numbers.
        """
        self.shape = (0, *shape)
        self.dtype = np.dtype(dtype)
        self._file = _SharedFile.of(int(np.prod(shape)) * self.dtype.itemsize)
        self._blocks: list[int] = []
        # without a lock, since rows may go at any moment, also while this thread holds it
        weakref.finalize(self, self._file.free_blocks.extend, self._blocks)

    def append(self, row: np.ndarray) -> None:
        """Add a row.

        Raises:
            ResultsError: The temporary folder is full.
        """
        if row.shape != self.shape[1:]:
            raise ValueError(f"a row of shape {row.shape} in an array of {self.shape}")
        block, within = divmod(len(self), self._file.block_rows)
        if block == len(self._blocks):
            self._blocks.append(self._file.take_block())
        place = self._blocks[block] * self._file.block_rows + within
        try:
            self._file.write(place, row.astype(self.dtype).tobytes())
        except OSError as error:
            raise ResultsError(
                f"Intermediate data cannot be kept in {tempfile.gettempdir()} ({error.strerror}): "
                "make room there, or set TMPDIR to another folder."
            ) from error
        self.shape = (len(self) + 1, *self.shape[1:])

    def _read(self, rows: Int[np.ndarray, " row"]) -> np.ndarray:
        if len(rows) == 0:
            return np.empty((0, *self.shape[1:]), self.dtype)
        block, within = np.divmod(rows, self._file.block_rows)
        first, last = int(block.min()), int(block.max())
        blocks = np.array(self._blocks[first : last + 1])
        found = self._file.read(blocks[block - first] * self._file.block_rows + within)
        return found.view(self.dtype).reshape(len(rows), *self.shape[1:])


class ChosenRows(StoredRows):
    """Some rows of several arrays, counted on from one to the next."""

    def __init__(
        self, parts: Sequence[StoredRows | np.ndarray], chosen: Int[np.ndarray, " row"]
    ) -> None:
        self._parts = parts
        self._ends = np.cumsum([len(part) for part in parts])
        self._chosen = chosen
        self.shape = (len(chosen), *parts[0].shape[1:])
        self.dtype = parts[0].dtype

    def _read(self, rows: Int[np.ndarray, " row"]) -> np.ndarray:
        wanted = self._chosen[rows]
        of = np.searchsorted(self._ends, wanted, side="right")
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        for k in np.unique(of):
            part, mine = self._parts[k], of == k
            found[mine] = part[wanted[mine] - (self._ends[k] - len(part))]
        return found
