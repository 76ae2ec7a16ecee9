"""The look that all figures share, and how they are saved; the only importer of matplotlib."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from dtsvibe_cli.errors import ConfigError
from dtsvibe_cli.results import atomic_path

WIDTH_IN: Final = 7.0
"""Width of a figure, inches: the text of a two-column paper."""

MAX_HEIGHT_IN: Final = 8.8
"""That of its page, with room for a caption."""

COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colours (2008), apart for every kind of colour vision; yellow is left out."""

DASHES: Final = ("-", (0, (5, 1.2)), (0, (2.5, 1)), (0, (6, 1.2, 1.5, 1.2)))
"""Line styles that go with them, for print without colour."""

FORMATS: Final = (".png", ".pdf", ".svg")

_DPI: Final = 300
_STYLE: Final[dict[str, Any]] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7.5,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # text stays text: publishers refuse type 3
    "svg.fonttype": "none",
}


def check_target(out: Path, *, overwrite: bool) -> None:
    """Refuse before any work what would fail after it.

    Raises:
        ConfigError: matplotlib is absent, the file's format is unknown, or it exists already.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "Figures are drawn by matplotlib, which is not installed: "
            "pip install 'dtsvibe[figures]'."
        ) from error
    if out.suffix.lower() not in FORMATS:
        raise ConfigError(f"{out} must end in one of {', '.join(FORMATS)}.")
    if out.exists() and not overwrite:
        raise ConfigError(f"{out} exists: give --overwrite to replace it, or another --out.")


@contextmanager
def figure_to_save(out: Path, height_in: float, width_in: float = WIDTH_IN) -> Iterator[Any]:
    """A matplotlib figure of the common look; written to ``out`` when the block went well.

    Raises:
        ResultsError: The file cannot be written.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure(figsize=(width_in, height_in), layout="constrained")
        yield figure
        with atomic_path(out) as part:
            figure.savefig(part, dpi=_DPI)
