"""Fills a folder with rendered training sequences: scene after scene, each made exactly once."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from dtsvibe_cli.progress import OnProgress
from dtsvibe_cli.results import atomic_path
from dtsvibe_cli.training.rendered import DATASET, Studio, make_studio, to_sequence
from dtsvibe_cli.training.sequences import write_sequence

DEFAULT_SCENES: Final = 1000

_studio: Studio | None = None
"""The studio of this process."""


@dataclass(frozen=True, kw_only=True)
class _Order:
    """What a process has to know."""

    motion: Path
    places: Path | None
    out: Path
    seed: int
    cache: Path


def render_sequences(
    motion: Path,
    out: Path,
    *,
    scenes: int = DEFAULT_SCENES,
    seed: int = 0,
    places: Path | None = None,
    workers: int = 1,
    on_progress: OnProgress | None = None,
) -> int:
    """Film scenes and write a training sequence for each person who was seen in them.

    A scene is a function of the seed and its number alone. What was made before is not made again,
    so an interrupted run goes on where it stopped, and more scenes can be added later.

    Args:
        motion: Folder of motion capture files; held-out clips are never used.
        out: Folder of the sequences.
        scenes: How many scenes there shall be in all; about 1.4 sequences come from one.
        seed: Chooses everything.
        places: Folder of panoramas and photographs; None to draw people before made-up colours.
        workers: Processes; each needs one core and a gigabyte.
        on_progress: Called with the stage, scenes done, and scenes in all.

    Returns:
        How many sequences of these scenes are there.

    Raises:
        DataError: There is no motion, or there are no places in the folder.
        ConfigError: numba is not installed.
    """
    order = _Order(motion=motion, places=places, out=out, seed=seed, cache=out / ".motion_bank.npz")
    missing = [index for index in range(scenes) if not _mark(order, index).is_file()]
    done = scenes - len(missing)
    for _ in _made(order, missing, workers):
        done += 1
        if on_progress is not None:
            on_progress("render", done, scenes)
    return sum(int(_mark(order, index).read_text()) for index in range(scenes))


def _made(order: _Order, indices: list[int], workers: int) -> Iterator[int]:
    """The scenes, one after the other or several at a time."""
    if not indices:
        return
    # with several processes the motion is still read here, once, and found in the cache by them
    _open_studio(order)
    if workers <= 1:
        yield from (_make(order, index) for index in indices)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _open_studio, (order,)) as pool:
        for future in [pool.submit(_make, order, index) for index in indices]:
            yield future.result()


def _mark(order: _Order, index: int) -> Path:
    """The file that says how many sequences a finished scene has given."""
    return order.out / DATASET / str(order.seed) / f".{index:06d}.done"


def _open_studio(order: _Order) -> None:
    global _studio
    torch.set_num_threads(1)
    _studio = make_studio(order.motion, order.places, cache=order.cache)


def _make(order: _Order, index: int) -> int:
    """Film one scene and write its sequences; gives their number."""
    assert _studio is not None
    people = _studio.people(order.seed, index)
    for person in people:
        write_sequence(order.out, to_sequence(person))
    with atomic_path(_mark(order, index)) as part:
        part.write_text(str(len(people)))
    return len(people)
