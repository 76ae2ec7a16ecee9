"""The benchmark as a picture: bars of speed and of stages, and how cost grows."""

from pathlib import Path
from typing import Any

from dtsvibe_cli.bench.growth import Growth, GrowthPoint
from dtsvibe_cli.bench.measured import LABELS, WAYS, Measured
from dtsvibe_cli.bench.report import BenchReport
from dtsvibe_cli.errors import ConfigError

_COLOURS = {"dtsvibe": "#2a6f97", "vibe": "#b0b0b0", "nano": "#8a8a8a"}
_KINDS = (".png", ".pdf", ".svg", ".jpg")


def check_picture(path: Path) -> None:
    """Refuse a picture that could not be drawn, before anything is measured.

    Raises:
        ConfigError: matplotlib is missing, the folder is missing, or the kind is unknown.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ConfigError("Pictures need matplotlib: pip install matplotlib.") from error
    if path.suffix.lower() not in _KINDS:
        raise ConfigError(f"{path} must end in {', '.join(_KINDS)}.")
    if not path.parent.is_dir():
        raise ConfigError(f"There is no folder {path.parent} for the picture.")


def draw_picture(report: BenchReport, path: Path) -> None:
    """Draw the report.

    Raises:
        ConfigError: The file cannot be written.
    """
    from matplotlib.figure import Figure

    rows = 1 + len(report.growth)
    figure = Figure(figsize=(11, 3.8 * rows), layout="constrained")
    axes = figure.subplots(rows, 2, squeeze=False)
    main = report.main
    figure.suptitle(
        f"{report.clip}: {report.video.width_px}x{report.video.height_px}, "
        f"{main.people_per_frame:.1f} people, {report.machine['cores']} cores"
    )
    _draw_speed(axes[0, 0], report)
    _draw_stages(axes[0, 1], main)
    for row, (growth, points) in zip(axes[1:], report.growth, strict=True):
        _draw_growth(row, growth, points)
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        figure.savefig(part, dpi=120)
        part.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror or error}).") from error
    finally:
        part.unlink(missing_ok=True)


def label_of(run: Measured) -> str:
    """The way, where it ran, and what drew."""
    if run.way != "dtsvibe":
        return f"{WAYS[run.way]} ({run.device})"
    return f"dtsvibe ({run.device}, {run.renderer.split(',')[0].split(' (')[0]})"


def _draw_speed(axes: Any, report: BenchReport) -> None:
    runs = [each.typical for each in report.contestants]
    bars = axes.barh(
        [label_of(run) for run in runs],
        [run.frames_per_second for run in runs],
        color=[_COLOURS[run.way] for run in runs],
    )
    texts = []
    for each in report.contestants:
        speed = f" {each.typical.frames_per_second:.3g}"
        if each.way == "dtsvibe" or each.typical.device != report.main.device:
            texts.append(speed)
        else:
            ratio = report.contestants[0].ratio_to(each)
            texts.append(f"{speed}; dtsvibe is {ratio:.1f} times as fast")
    axes.bar_label(bars, texts, fontsize=8)
    axes.set(xlabel="frames a second, end to end", title="Speed")
    axes.margins(x=0.25)
    axes.invert_yaxis()


def _draw_stages(axes: Any, run: Measured) -> None:
    stages = [stage for stage in run.stages if run.stages[stage] > 0]
    bars = axes.barh(
        [LABELS.get(stage, stage) for stage in stages],
        [run.stage_ms(stage) for stage in stages],
        color=_COLOURS["dtsvibe"],
    )
    axes.bar_label(bars, fmt=" %.2f", fontsize=8)
    axes.set(xlabel="milliseconds a frame", title=f"Stages of {label_of(run)}")
    axes.margins(x=0.15)
    axes.invert_yaxis()


def _draw_growth(axes: Any, growth: Growth, points: tuple[GrowthPoint, ...]) -> None:
    values = [point.value for point in points]
    for axis, heights, label in (
        (axes[0], [point.run.ms_per_frame for point in points], "milliseconds a frame"),
        (axes[1], [point.run.peak_memory_mib for point in points], "peak memory, MiB"),
    ):
        bars = axis.bar(values, heights, color=_COLOURS["dtsvibe"], width=0.6)
        axis.bar_label(bars, fmt="%.0f", fontsize=8)
        unit = " (seconds)" if growth.kind == "length" else ""
        axis.set(xlabel=f"{growth.kind}{unit}", ylabel=label)
