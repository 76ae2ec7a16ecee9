"""Read arrays out of old body model pickles without running anything that they ask for.

The official SMPL files are Python pickles (many of Python 2) full of objects of a dead library,
chumpy. The unpickler here knows a dozen harmless names and refuses all others, so that a file can
never run code, and chumpy is never needed.
"""

import io
import pickle
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from jaxtyping import Float


def read_arrays(content: bytes, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """The arrays of a pickled dictionary, those of ``keys`` that it has.

    Raises:
        RefusedPickleError: the pickle asks for something that no body model needs; it has run
            nothing.
        ValueError: it is damaged or no pickle at all.
    """
    try:
        loaded = read_dictionary(content)
        return {key: np.asarray(_plain(loaded[key])) for key in keys if key in loaded}
    except _DAMAGED as error:
        raise ValueError(str(error) or type(error).__name__) from error


def read_dictionary(content: bytes) -> dict[Any, Any]:
    """A pickled dictionary of arrays, numbers, texts, and lists and dictionaries of such.

    Raises:
        RefusedPickleError: as :func:`read_arrays`.
        ValueError: it is damaged or no pickle at all.
    """
    try:
        loaded = _BodyUnpickler(io.BytesIO(content), encoding="latin1").load()
        if not isinstance(loaded, dict):
            raise TypeError("it holds no dictionary")
    except _DAMAGED as error:
        raise ValueError(str(error) or type(error).__name__) from error
    return loaded


class RefusedPickleError(Exception):
    """A pickle asks for a name that is not on the list."""


# What a truncated or foreign byte stream makes an unpickler raise.
_DAMAGED: Final = (
    pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError, KeyError, TypeError,
    ValueError, OverflowError, MemoryError, RecursionError, NotImplementedError,
)  # fmt: skip


class _Holder:
    """Stands in for a class of the file; keeps what was pickled and does nothing."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        self.fields: dict[str, Any] = {}

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, dict):
            raise TypeError("unknown state of a pickled object")
        self.fields = state


class _Chumpy(_Holder):
    """Any chumpy class."""


class _Csc(_Holder):
    """scipy's sparse matrix by columns."""


class _Csr(_Holder):
    """scipy's sparse matrix by rows."""


class _Coo(_Holder):
    """scipy's sparse matrix by coordinates."""


def _reconstructor(cls: object, base: object, state: object) -> _Holder:
    """Python 2's way of making an object: only ours."""
    if not (isinstance(cls, type) and issubclass(cls, _Holder)):
        raise RefusedPickleError(f"an object of {cls}")
    return cls()


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """How newer pickles carry the byte strings of older ones."""
    if encoding not in ("latin1", "latin-1"):
        raise RefusedPickleError(f"the codec {encoding!r}")
    return text.encode("latin1")


def _bytearray(content: bytes | str = b"", encoding: str = "latin1") -> bytearray:
    """How our own ``.pkl`` carries the bytes of an array."""
    return bytearray(_encode(content, encoding) if isinstance(content, str) else bytes(content))


def _empty_array(cls: object, shape: object, kind: object) -> np.ndarray:
    """How numpy's pickles begin an array; its state fills it."""
    return np.empty(0, np.uint8)


def _from_buffer(
    content: bytes | bytearray, kind: "np.dtype[Any]", shape: Any, order: Any
) -> np.ndarray:
    """How newer pickles carry an array as one piece."""
    return np.frombuffer(content, kind).reshape(shape, order=order)


def _scalar(kind: "np.dtype[Any]", content: bytes) -> Any:
    """How numpy's pickles carry a single number."""
    return np.frombuffer(content, kind)[0]


_ALLOWED: Final[dict[tuple[str, str], Any]] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("copy_reg", "_reconstructor"): _reconstructor,
    ("copyreg", "_reconstructor"): _reconstructor,
    ("__builtin__", "object"): object,
    ("builtins", "object"): object,
    ("__builtin__", "set"): set,
    ("builtins", "set"): set,
    ("__builtin__", "bytearray"): _bytearray,
    ("builtins", "bytearray"): _bytearray,
    ("collections", "OrderedDict"): dict,
    ("_codecs", "encode"): _encode,
    **{
        (f"numpy.{core}.{module}", name): function
        for core in ("core", "_core")
        for module, name, function in (
            ("multiarray", "_reconstruct", _empty_array),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _from_buffer),
        )
    },
}
_SPARSE: Final = {"csc_matrix": _Csc, "csr_matrix": _Csr, "coo_matrix": _Coo}


class _BodyUnpickler(pickle.Unpickler):
    """Knows arrays, sparse matrices and chumpy's wrappers; refuses every other name."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        if module.partition(".")[0] == "chumpy":
            return _Chumpy
        if module.startswith("scipy.sparse") and name in _SPARSE:
            return _SPARSE[name]
        raise RefusedPickleError(f"{module}.{name}")

    def persistent_load(self, pid: object) -> Any:
        raise RefusedPickleError("an outside object")


def _plain(value: Any) -> Any:
    """The array that a pickled object stands for."""
    if not isinstance(value, _Holder):
        return value
    fields = value.fields
    if isinstance(value, _Chumpy):
        if "x" in fields:
            return np.asarray(_plain(fields["x"]))
        # A selection of another array's elements.
        chosen = np.asarray(_plain(fields["a"])).ravel()[np.asarray(_plain(fields["idxs"]))]
        shape = fields.get("preferred_shape")
        return chosen if shape is None else chosen.reshape(tuple(int(n) for n in shape))
    return _dense(value)


def _dense(value: _Holder) -> Float[np.ndarray, "row column"]:
    """A sparse matrix as a plain one."""
    fields = value.fields
    rows, columns = (int(n) for n in fields["_shape" if "_shape" in fields else "shape"])
    data = np.asarray(fields["data"], np.float64)
    if isinstance(value, _Coo):
        # scipy 1.13 put the two into one tuple
        row, column = fields["coords"] if "coords" in fields else (fields["row"], fields["col"])
    else:
        counts = np.diff(np.asarray(fields["indptr"]))
        major = np.repeat(np.arange(len(counts)), counts)
        minor = np.asarray(fields["indices"])
        row, column = (minor, major) if isinstance(value, _Csc) else (major, minor)
    dense = np.zeros((rows, columns))
    np.add.at(dense, (row, column), data)
    return dense
