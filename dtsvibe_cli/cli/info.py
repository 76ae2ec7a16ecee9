"""``dtsvibe info``: what this machine has; the first thing to send with a question."""

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import click

from dtsvibe_cli import __version__
from dtsvibe_cli.cli._console import print_json
from dtsvibe_cli.cli._errors import report_errors

_PACKAGES: Final = (
    "torch", "torchvision", "onnxruntime", "numpy", "scipy", "av", "opencv-python-headless",
    "ultralytics-opencv-headless", "pyrender", "PyOpenGL", "numba", "smplx",
)  # fmt: skip


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for programs.")
@report_errors
def info(*, as_json: bool) -> None:
    """Show versions, devices, what draws, and whether the weights are whole.

    \b
    dtsvibe info
    dtsvibe info --json
    """  # noqa: D301
    facts = _facts()
    if as_json:
        print_json(facts)
        return
    for name, value in facts.items():
        lines = value.items() if isinstance(value, dict) else [("", value)]
        for index, (key, text) in enumerate(lines):
            click.echo(f"{name if index == 0 else '':<12}{f'{key} {text}'.strip()}")


def _facts() -> dict[str, Any]:
    return {
        "dtsvibe": __version__,
        "python": f"{platform.python_version()} on {platform.platform()}",
        "packages": {name: _installed(name) for name in _PACKAGES},
        "ffmpeg": _ffmpeg(),
        "devices": _devices(),
        "renderer": _renderer(),
        "weights": _weights(),
    }


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _ffmpeg() -> dict[str, str]:
    import av

    return {name: ".".join(map(str, numbers)) for name, numbers in av.library_versions.items()}


def _devices() -> dict[str, str]:
    import torch

    devices = {"cpu": f"{torch.get_num_threads()} threads"}
    for index in range(torch.cuda.device_count()):
        devices[f"cuda:{index}"] = torch.cuda.get_device_name(index)
    if torch.backends.mps.is_available():
        devices["mps"] = platform.processor()
    return devices


def _renderer() -> str:
    from dtsvibe_cli.errors import RenderError
    from dtsvibe_cli.stages.rendering import make_renderer

    try:
        renderer = make_renderer()
    except RenderError as error:
        return str(error)
    renderer.close()
    return renderer.name


def _weights() -> dict[str, str]:
    from dtsvibe_cli import weights
    from dtsvibe_cli.errors import WeightsError

    try:
        names = list(weights.registry())
    except WeightsError as error:
        return {"none": str(error)}
    return {name: _verified(name) for name in names}


def _verified(name: str) -> str:
    from dtsvibe_cli import weights
    from dtsvibe_cli.errors import WeightsError

    try:
        weights.verify(name)
    except WeightsError as error:
        return str(error)
    return "verified"
