"""The checkpoint of a run: one file, always whole; and the digest of a network's weights."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from dtsvibe_cli.errors import ConfigError, WeightsError

CHECKPOINT = "checkpoint.pt"


def write_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write the folder's checkpoint; the old one stays until the new one is whole."""
    part = folder / (CHECKPOINT + ".part")
    torch.save(state, part)
    part.replace(folder / CHECKPOINT)


def read_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The folder's checkpoint, on the CPU; None when there is none.

    Raises:
        WeightsError: It is damaged.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, UnpicklingError, EOFError) as error:
        raise WeightsError(f"{path} is damaged: delete it and start again.") from error
    return state


def finished_run(folder: Path) -> dict[str, Any]:
    """The checkpoint of a run that another one starts from.

    Raises:
        ConfigError: The folder holds no run.
        WeightsError: Its checkpoint is damaged.
    """
    state = read_checkpoint(folder)
    if state is None:
        raise ConfigError(f"{folder} holds no run: give the --out of an earlier `dtsvibe train`.")
    return state


def weights_digest(state: Mapping[str, Tensor]) -> str:
    """First 16 hexadecimal digits of the sha256 of all tensors' bytes, in the order of names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(state[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
