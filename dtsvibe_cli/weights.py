"""Weights files: where they are, whether they are whole, and how they are read and written.

``weights/registry.toml`` says what is shipped; this module finds those files, compares sizes and
checksums, and reads and writes safetensors (never pickle). It knows no network and no URL: what the
tensors mean is the business of :mod:`dtsvibe_cli.models`, and how to make them again that of
:mod:`dtsvibe_cli.builders`.

A file larger than :data:`MAX_SHARD_BYTES` is written as shards ``NAME-00001-of-00003.safetensors``.
All metadata lies as one JSON text under :data:`METADATA_KEY`: safetensors writes several keys in
random order, and equal weights must give equal bytes.
"""

import hashlib
import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dacite
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from dtsvibe_cli.errors import WeightsError

ENVIRONMENT_VARIABLE = "DTSVIBE_WEIGHTS"
REGISTRY_NAME = "registry.toml"
METADATA_KEY = "dtsvibe"
MAX_SHARD_BYTES = 14 * 2**20
_SHARD = re.compile(r"(?P<stem>.+)-(?P<index>\d{5})-of-(?P<count>\d{5})")
_ADVICE = "run `dtsvibe weights verify`, and reinstall dtsvibe if a file is bad"


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """One file of a registry entry."""

    name: str
    """File name inside the weights folder."""
    sha256: str
    """Checksum, hexadecimal."""
    size_bytes: int
    """Exact size."""


@dataclass(frozen=True, kw_only=True)
class WeightSpec:
    """One registry entry: a set of weights with its history."""

    name: str
    """What users and :func:`find` call it."""
    description: str
    """One line for a reader who knows nothing of it."""
    files: tuple[WeightsFile, ...]
    """The file, or its shards in order."""
    licence: str
    """SPDX identifier; the text is in ``weights/licences``."""
    origin: str
    """What it was made from: package and version, or data, command and seed."""
    builder: str
    """Command that makes it again."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Published numbers, with their unit in the name; may be empty."""

    @property
    def size_bytes(self) -> int:
        """Size of all files together."""
        return sum(file.size_bytes for file in self.files)


def weights_dir() -> Path:
    """The folder that holds ``registry.toml`` and the weights.

    The first of: ``$DTSVIBE_WEIGHTS``, ``_weights`` inside the installed package, ``weights``
    beside the package (a checkout).

    Raises:
        WeightsError: None of them holds a registry, or ``$DTSVIBE_WEIGHTS`` is set and does not.
    """
    chosen = os.environ.get(ENVIRONMENT_VARIABLE)
    if chosen:
        if not (Path(chosen) / REGISTRY_NAME).is_file():
            raise WeightsError(
                f"${ENVIRONMENT_VARIABLE} is {chosen}, which holds no {REGISTRY_NAME}: "
                "point it at a weights folder or unset it."
            )
        return Path(chosen)
    package = Path(__file__).resolve().parent
    candidates = (package / "_weights", package.parent / "weights")
    for folder in candidates:
        if (folder / REGISTRY_NAME).is_file():
            return folder
    looked = " and ".join(str(folder) for folder in candidates)
    raise WeightsError(f"No weights found in {looked}: reinstall dtsvibe.")


def registry() -> dict[str, WeightSpec]:
    """Every registry entry by name, in the order of ``registry.toml``.

    Raises:
        WeightsError: The registry is missing, is no TOML, or lacks a field.
    """
    path = weights_dir() / REGISTRY_NAME
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))
        strict = dacite.Config(strict=True, cast=[tuple, float])
        return {
            name: dacite.from_dict(WeightSpec, {"name": name, **entry}, strict)
            for name, entry in entries.items()
        }
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, TypeError, dacite.DaciteError) as error:
        raise WeightsError(f"{path} is damaged ({error}): reinstall dtsvibe.") from error


def spec(name: str) -> WeightSpec:
    """The registry entry ``name``.

    Raises:
        WeightsError: There is no such entry.
    """
    entries = registry()
    if name not in entries:
        raise WeightsError(
            f"There are no weights named {name!r}: choose from {', '.join(entries)}."
        )
    return entries[name]


def find(name: str) -> tuple[Path, ...]:
    """Paths of the files of ``name``, after a look at their sizes (not their checksums).

    Raises:
        WeightsError: Unknown name, or a file is missing or has another size.
    """
    folder = weights_dir()
    paths = []
    for file in spec(name).files:
        path = folder / file.name
        if not path.is_file():
            raise WeightsError(f"Weights file {path} is missing: {_ADVICE}.")
        size = path.stat().st_size
        if size != file.size_bytes:
            raise WeightsError(
                f"Weights file {path} has {size} bytes instead of {file.size_bytes}: {_ADVICE}."
            )
        paths.append(path)
    return tuple(paths)


def verify(name: str) -> None:
    """Compare the checksum of every file of ``name`` with the registry.

    Raises:
        WeightsError: A file is missing or differs; the message names it with both checksums.
    """
    for file, path in zip(spec(name).files, find(name), strict=True):
        found = sha256_of(path)
        if found != file.sha256:
            raise WeightsError(
                f"Weights file {path} is not the released one (sha256 expected {file.sha256}, "
                f"found {found}): reinstall dtsvibe."
            )


def sha256_of(path: Path) -> str:
    """Checksum of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_of(source: str | Path) -> tuple[Path, ...]:
    """The files of one set of weights: a registry name, or a path as :func:`read_tensors` takes it.

    Raises:
        WeightsError: A file is missing.
    """
    if isinstance(source, str) and source in registry():
        return find(source)
    return _with_siblings(Path(source))


def read_tensors(source: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (on the CPU, in the precision they are stored in) and metadata of one set of weights.

    Args:
        source: A registry name, or the path of a safetensors file: the whole one, any of its
            shards, or the name the shards would have without their numbers.

    Raises:
        WeightsError: A file is missing, truncated, no safetensors, or its shards do not belong
            together.
    """
    paths = files_of(source)
    tensors: dict[str, Tensor] = {}
    metadata: dict[str, Any] | None = None
    for path in paths:
        part, part_metadata = _read_file(path)
        if metadata is not None and (part_metadata != metadata or part.keys() & tensors.keys()):
            raise WeightsError(f"Weights file {path} is a shard of another set: {_advice(path)}.")
        metadata = part_metadata
        tensors |= part
    assert metadata is not None
    return tensors, metadata


def write_tensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, Any],
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> tuple[Path, ...]:
    """Write tensors and JSON metadata; the same content always gives the same bytes.

    Args:
        path: Where to, ending in ``.safetensors``; with several shards their numbers are added.
        tensors: Written in their own precision, sorted by name into shards.
        metadata: JSON values; every shard carries all of it.
        max_shard_bytes: Limit of the tensors' bytes in one shard; one tensor may exceed it.

    Returns:
        The files written, in shard order.
    """
    shards = _split(tensors, max_shard_bytes)
    text = json.dumps(metadata, sort_keys=True, separators=(",", ":"), allow_nan=False)
    written = []
    for index, shard in enumerate(shards, start=1):
        number = f"-{index:05d}-of-{len(shards):05d}" if len(shards) > 1 else ""
        target = path.with_name(f"{path.stem}{number}{path.suffix}")
        temporary = target.with_name(f".{target.name}.part")
        temporary.write_bytes(save(shard, metadata={METADATA_KEY: text}))
        temporary.replace(target)
        written.append(target)
    return tuple(written)


def describe_file(path: Path) -> WeightsFile:
    """The registry's line for a file: its name, checksum and size."""
    return WeightsFile(name=path.name, sha256=sha256_of(path), size_bytes=path.stat().st_size)


def _split(tensors: Mapping[str, Tensor], max_shard_bytes: int) -> list[dict[str, Tensor]]:
    """Tensors in name order, cut into shards that keep to the limit."""
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        if shards[-1] and size + tensor.nbytes > max_shard_bytes:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += tensor.nbytes
    return shards


def _with_siblings(path: Path) -> tuple[Path, ...]:
    """The file, or all shards of the set it stands for."""
    match = _SHARD.fullmatch(path.stem)
    if match is None and path.is_file():
        return (path,)
    if match is None:
        firsts = sorted(path.parent.glob(f"{path.stem}-00001-of-*{path.suffix}"))
        if len(firsts) > 1:
            raise WeightsError(
                f"Weights file {path} has several sets of shards: delete the ones that are old."
            )
        match = _SHARD.fullmatch(firsts[0].stem) if firsts else None
    if match is None:
        raise WeightsError(
            f"Weights file {path} is missing: give the path of a file that exists, or a name that "
            "`dtsvibe weights list` shows."
        )
    stem, count = match["stem"], match["count"]
    shards = tuple(
        path.with_name(f"{stem}-{index:05d}-of-{count}{path.suffix}")
        for index in range(1, int(count) + 1)
    )
    missing = next((shard for shard in shards if not shard.is_file()), None)
    if missing is not None:
        raise WeightsError(
            f"Weights file {missing} is missing: keep all {int(count)} shards together."
        )
    return shards


def _read_file(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and metadata of one safetensors file."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {}).get(METADATA_KEY, "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118
    except (SafetensorError, json.JSONDecodeError, OSError) as error:
        raise WeightsError(
            f"Weights file {path} is damaged or no safetensors file ({error}): {_advice(path)}."
        ) from error


def _advice(path: Path) -> str:
    """What to do about a file that cannot be used: ours is mended, another one replaced."""
    ours = path.resolve().parent == weights_dir().resolve()
    return _ADVICE if ours else "give one that `dtsvibe train` wrote, or leave the option out"
