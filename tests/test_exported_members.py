import subprocess
import sys

import pytest

import dtsvibe_cli

PUBLIC = {
    "BodyModelError", "ConfigError", "DataError", "Detections", "DtsVibeError", "Frame",
    "Observations", "PersonMotion", "PinholeCamera", "RenderError", "ResultsError", "SmplParams",
    "Track", "VideoError", "VideoInfo", "VideoMotion", "WeakPerspectiveCamera", "WeightsError",
    "__version__", "estimate_video", "load_results", "render_video", "run", "save_results",
    "save_vibe_pickle",
}  # fmt: skip


def test_public_names_are_pinned() -> None:
    """A name that comes or goes belongs in the CHANGELOG."""
    assert set(dtsvibe_cli.__all__) == PUBLIC
    assert dir(dtsvibe_cli) == sorted(PUBLIC)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_can_be_imported(name: str) -> None:
    value = getattr(dtsvibe_cli, name)
    assert name == "__version__" or value.__doc__


def test_other_names_are_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'estimate'"):
        dtsvibe_cli.estimate  # noqa: B018


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, dtsvibe_cli; print(sorted({'torch', 'numpy', 'click'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
