"""Importing ultralytics without letting it touch the network or install packages.

Left alone, its import asks DNS for public hosts and writes settings to the home folder, its
``predict`` posts usage events, its trackers install ``lap`` by themselves, and a missing weights
file is fetched. All of that is switched by variables it reads once, while it is imported: so every
use in this package goes through here.
"""

import importlib
import os
import tempfile
from pathlib import Path
from typing import Any

import platformdirs


def ultralytics_folder() -> Path:
    """Folder for ultralytics' settings and for weights that the user asked to download."""
    folder = Path(platformdirs.user_cache_dir("dtsvibe")) / "ultralytics"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        # Containers often have no writable home; nothing in the folder is worth failing for.
        folder = Path(tempfile.gettempdir()) / "dtsvibe-ultralytics"
        folder.mkdir(exist_ok=True)
    return folder


def import_ultralytics(module: str = "ultralytics") -> Any:
    """A module of ultralytics, imported offline, quiet and with its settings in our cache folder.

    Variables that the user has set already are left as they are.
    """
    for name, value in {
        "YOLO_OFFLINE": "1",
        "YOLO_AUTOINSTALL": "0",
        "YOLO_VERBOSE": "0",
        "ULTRALYTICS_SAFE_LOAD": "1",  # weights files may not run code
        "YOLO_CONFIG_DIR": str(ultralytics_folder()),
    }.items():
        os.environ.setdefault(name, value)
    from PIL import Image

    image_open = Image.open
    try:
        return importlib.import_module(module)
    finally:
        # Ultralytics puts a function of its own in its place, for the whole process, which asks
        # for another package when a picture is damaged.
        Image.open = image_open
