"""Collects photographs for training people to be drawn before, from Debian's and npm's packages.

They are freely licensed (``places.tsv`` says how, and whose they are), but they are not ours: they
are fetched when they are wanted and never become part of the project.
"""

import base64
import csv
import hashlib
import importlib.resources
import logging
import re
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import platformdirs

from dtsvibe_cli.builders.fetch import PackageMember, read_members
from dtsvibe_cli.errors import DataError, WeightsError
from dtsvibe_cli.progress import OnProgress
from dtsvibe_cli.results import atomic_path
from dtsvibe_cli.video.exr import decode_exr

_LOG = logging.getLogger(__name__)

PHOTOGRAPH_SIDE_PX: Final = 1280
"""Longer side of the photographs as they are kept."""


@dataclass(frozen=True, kw_only=True)
class PlaceSource:
    """One photograph or panorama."""

    name: str
    licence: str
    author: str
    file: PackageMember


def place_sources() -> tuple[PlaceSource, ...]:
    """All places that are known, with their licences."""
    table = importlib.resources.files("dtsvibe_cli.builders") / "places.tsv"
    rows = csv.DictReader(table.read_text(encoding="utf-8").splitlines(), delimiter="\t")
    return tuple(
        PlaceSource(
            name=row["name"],
            licence=row["licence"],
            author=row["author"],
            file=PackageMember(
                registry="npm" if row["registry"] == "npm" else "debian",
                package=row["package"],
                version=row["version"],
                member=row["member"],
                sha256=row["sha256"],
            ),
        )
        for row in rows
    )


def places_folder() -> Path:
    """Where collected places are kept unless somebody says otherwise."""
    return platformdirs.user_cache_path("dtsvibe") / "places"


def collect_places(folder: Path, on_progress: OnProgress | None = None) -> list[Path]:
    """Fetch every place that is not in the folder yet; gives all files that are there afterwards.

    What a package no longer holds in the known form is left out with a warning.

    Raises:
        DataError: None could be had.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sources = place_sources()
    missing = [source for source in sources if not _kept(folder, source).is_file()]
    done = len(sources) - len(missing)
    for (package, _), group in groupby(missing, lambda s: (s.file.package, s.file.version)):
        own = list(group)
        try:
            contents = read_members([source.file for source in own])
        except WeightsError as error:
            _LOG.warning("%s is left out: %s", package, error)
            continue
        for source in own:
            _keep(folder, source, contents[source.file])
            done += 1
            if on_progress is not None:
                on_progress("collect", done, len(sources))
    paths = [path for source in sources if (path := _kept(folder, source)).is_file()]
    if not paths:
        raise DataError(
            "No photographs could be fetched: this needs apt-get (Debian) or npm, and a network."
        )
    return paths


def _kept(folder: Path, source: PlaceSource) -> Path:
    panorama = ".exr" in Path(source.file.member).name
    return folder / (source.name + (".npz" if panorama else ".jpg"))


def _keep(folder: Path, source: PlaceSource, content: bytes) -> None:
    if hashlib.sha256(content).hexdigest() != source.file.sha256:
        _LOG.warning("%s is left out: it is not the file that is known.", source.file)
        return
    path = _kept(folder, source)
    if path.suffix == ".npz":
        if source.file.member.endswith(".js"):
            found = re.search(rb"base64,([A-Za-z0-9+/=]+)", content)
            content = base64.b64decode(found[1]) if found else b""
        with atomic_path(path) as part:
            light = np.clip(np.nan_to_num(decode_exr(content)), 0, 6e4)
            np.savez(part, panorama=light.astype(np.float16))
        return
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None  # its checksum is right
    scale = PHOTOGRAPH_SIDE_PX / max(picture.shape[:2])
    size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    encoded = cv2.imencode(
        ".jpg", cv2.resize(picture, size, interpolation=way), [cv2.IMWRITE_JPEG_QUALITY, 92]
    )[1]
    with atomic_path(path) as part:
        part.write_bytes(encoded.tobytes())
