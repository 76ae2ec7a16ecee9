"""MATLAB's .mat files, of the old format and of version 7.3."""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dtsvibe_cli.errors import ConfigError, DataError


def read_mat(path: Path, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """Some variables of a file; cells become arrays of objects.

    Raises:
        DataError: The file is missing or damaged, or a variable is not in it.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        fields: dict[str, Any] = loadmat(path, variable_names=list(keys))
    except NotImplementedError:  # how scipy says that it is of version 7.3
        fields = _read_hdf(path, keys)
    except (OSError, ValueError, TypeError, zlib.error, MatReadError) as error:
        raise DataError(f"{path} cannot be read as a .mat file ({error}).") from error
    missing = [key for key in keys if key not in fields]
    if missing:
        raise DataError(f"{path} has no {', '.join(missing)}.")
    return {key: np.asarray(fields[key]) for key in keys}


def _read_hdf(path: Path, keys: Sequence[str]) -> dict[str, Any]:
    """Version 7.3 is HDF5, with axes in the other order and cells as references."""
    try:
        import h5py
    except ImportError as error:
        raise ConfigError(
            f"{path} is a .mat file of version 7.3: pip install 'dtsvibe[train]' for h5py."
        ) from error

    def value(file: Any, item: Any) -> np.ndarray:
        array = np.asarray(item[()]).T
        if array.dtype != object:
            return array
        cells = np.empty(array.shape, object)
        for index, reference in np.ndenumerate(array):
            cells[index] = value(file, file[reference])
        return cells

    try:
        with h5py.File(path, "r") as file:
            return {key: value(file, file[key]) for key in keys if key in file}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path} cannot be read as a .mat file ({error}).") from error
