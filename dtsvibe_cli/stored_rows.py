"""Arrays that grow row by row in a temporary file, read back a few rows at a time.

What is seen of a person takes kilobytes a frame; of long videos only a part is ever in memory.
"""

import tempfile
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from jaxtyping import Int

from dtsvibe_cli.errors import ResultsError

_IN_MEMORY_BYTES: Final = 1 << 22
"""An array this small never reaches the disk."""


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


class RowFile(StoredRows):
    """One array; small ones stay in memory, larger ones go to a file that nobody else sees."""

    def __init__(self, shape: tuple[int, ...], dtype: type[np.generic]) -> None:
        """Begin without rows.

        Args:
            shape: Of a row.
            dtype: Of the numbers.
        """
        self.shape = (0, *shape)
        self.dtype = np.dtype(dtype)
        self._row_bytes = int(np.prod(shape)) * self.dtype.itemsize
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115
        self._lock = threading.Lock()
        weakref.finalize(self, self._file.close)

    def append(self, row: np.ndarray) -> None:
        """Add a row.

        Raises:
            ResultsError: The temporary folder is full.
        """
        if row.shape != self.shape[1:]:
            raise ValueError(f"a row of shape {row.shape} in an array of {self.shape}")
        try:
            with self._lock:
                self._file.seek(len(self) * self._row_bytes)
                self._file.write(row.astype(self.dtype).tobytes())
        except OSError as error:
            raise ResultsError(
                f"Intermediate data cannot be kept in {tempfile.gettempdir()} ({error.strerror}): "
                "make room there, or set TMPDIR to another folder."
            ) from error
        self.shape = (len(self) + 1, *self.shape[1:])

    def _read(self, rows: Int[np.ndarray, " row"]) -> np.ndarray:
        if len(rows) == 0:
            return np.empty((0, *self.shape[1:]), self.dtype)
        first, last = int(rows.min()), int(rows.max())
        with self._lock:
            self._file.seek(first * self._row_bytes)
            data = self._file.read((last - first + 1) * self._row_bytes)
        stretch = np.frombuffer(bytearray(data), self.dtype).reshape(-1, *self.shape[1:])
        return np.asarray(stretch[rows - first])


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
        for k, part in enumerate(self._parts):
            mine = of == k
            if mine.any():
                found[mine] = part[wanted[mine] - (self._ends[k] - len(part))]
        return found
