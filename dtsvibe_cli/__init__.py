"""Human motion from any video: SMPL parameters of everybody in it, and meshes drawn over it.

>>> import dtsvibe_cli
>>> motion, report = dtsvibe_cli.estimate_video("walk.mp4")  # doctest: +SKIP
>>> motion.people[0].joints_cam.shape  # doctest: +SKIP
(120, 24, 3)

Names are imported when they are first used, so that ``import dtsvibe_cli`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dtsvibe_cli.datatypes import (
        Detections,
        Frame,
        Observations,
        PersonMotion,
        PinholeCamera,
        SmplParams,
        Track,
        VideoInfo,
        VideoMotion,
        WeakPerspectiveCamera,
    )
    from dtsvibe_cli.errors import (
        BodyModelError,
        ConfigError,
        DataError,
        DtsVibeError,
        RenderError,
        ResultsError,
        VideoError,
        WeightsError,
    )
    from dtsvibe_cli.pipeline import estimate_video, render_video, run
    from dtsvibe_cli.results import load_results, save_results, save_vibe_pickle

__version__ = "0.1.0"

__all__ = [
    "BodyModelError",
    "ConfigError",
    "DataError",
    "Detections",
    "DtsVibeError",
    "Frame",
    "Observations",
    "PersonMotion",
    "PinholeCamera",
    "RenderError",
    "ResultsError",
    "SmplParams",
    "Track",
    "VideoError",
    "VideoInfo",
    "VideoMotion",
    "WeakPerspectiveCamera",
    "WeightsError",
    "__version__",
    "estimate_video",
    "load_results",
    "render_video",
    "run",
    "save_results",
    "save_vibe_pickle",
]

_FUNCTIONS = {
    "estimate_video": "pipeline",
    "render_video": "pipeline",
    "run": "pipeline",
    "load_results": "results",
    "save_results": "results",
    "save_vibe_pickle": "results",
}
"""Module of each public function; public classes are errors or data types."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = _FUNCTIONS.get(name, "errors" if name.endswith("Error") else "datatypes")
    return getattr(import_module(f"{__name__}.{module}"), name)


def __dir__() -> list[str]:
    return __all__
