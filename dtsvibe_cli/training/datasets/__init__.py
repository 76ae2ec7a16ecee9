"""Readers of the data sets that people train on, each behind the same two functions.

A reader lists recordings, and each recording gives labelled tracks of its people. What is expected
on the disk stands at the head of each reader's module.
"""

from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Final

from dtsvibe_cli.errors import ConfigError, DataError
from dtsvibe_cli.training.datasets.tracks import LabelledTrack, Recording

DATASETS: Final = {
    "3dpw": "threedpw",
    "h36m": "human36m",
    "3dhp": "mpi_inf_3dhp",
    "instavariety": "instavariety",
    "pennaction": "penn_action",
    "posetrack": "posetrack",
    "synthetic": "truths",
    "ours": "truths",
}
"""Module of each."""

SPLITS: Final = ("train", "validation", "test")


def open_dataset(dataset: str, root: Path, split: str = "train") -> list[Recording]:
    """The recordings of a part of a data set.

    Args:
        dataset: One of :data:`DATASETS`.
        root: Its folder.
        split: One of :data:`SPLITS`.

    Raises:
        ConfigError: There is no such data set or part.
        DataError: The folder is missing or is laid out otherwise.
    """
    if dataset == "amass":
        raise ConfigError(f"AMASS needs no preparing: run `dtsvibe train --motion {root}`.")
    if dataset not in DATASETS:
        raise ConfigError(f"There is no data set '{dataset}': choose from {', '.join(DATASETS)}.")
    if split not in SPLITS:
        raise ConfigError(f"There is no part '{split}': choose from {', '.join(SPLITS)}.")
    if not root.exists():
        raise DataError(f"There is no folder {root}.")
    module = import_module(f"{__name__}.{DATASETS[dataset]}")
    recordings: Callable[[Path, str], list[Recording]] = module.recordings
    if DATASETS[dataset] == "truths":
        recordings = partial(module.recordings, dataset)
    found = recordings(root, split)
    if not found:
        raise DataError(f"{root} holds no recordings of the part '{split}' of {dataset}.")
    return found


def read_tracks(dataset: str, root: Path, split: str = "train") -> Iterator[LabelledTrack]:
    """Every labelled person of a part of a data set, read when asked for.

    Raises:
        ConfigError: There is no such data set or part.
        DataError: Something is missing or malformed.
    """
    for recording in open_dataset(dataset, root, split):
        yield from recording.read()
