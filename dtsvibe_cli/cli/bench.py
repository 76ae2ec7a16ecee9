"""``dtsvibe bench``: how fast this machine does it, beside the usual way."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dtsvibe_cli.cli._console import print_json
from dtsvibe_cli.cli._errors import report_errors

if TYPE_CHECKING:
    from dtsvibe_cli.bench.reference_networks import ReferenceName
    from dtsvibe_cli.bench.report import BenchReport


def _size(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, int]:
    width, _, height = value.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise click.BadParameter(f"{value!r} is no size: give width and height as 1280x720.")
    return int(width), int(height)


@click.command()
@click.argument("source", metavar="[VIDEO]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--people",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="People in the generated clip.",
)
@click.option(
    "--size",
    callback=_size,
    default="1280x720",
    show_default=True,
    metavar="WxH",
    help="Size of the generated clip, pixels.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="Length of the generated clip, at 30 frames a second.",
)
@click.option(
    "--device",
    default="all",
    show_default=True,
    metavar="NAME",
    help="Where to compute: all that are here, or auto, cpu, cuda, cuda:1, mps.",
)
@click.option(
    "--renderer",
    type=click.Choice(["all", "auto", "egl", "numba", "numpy"]),
    default="all",
    show_default=True,
    help="What draws: all that work here, or one.",
)
@click.option(
    "--skip",
    type=click.Choice(["vibe", "nano"]),
    multiple=True,
    help="Leave out this reference pipeline: vibe has YOLOv3, nano YOLO11n. Can be given twice.",
)
@click.option(
    "--reference-frames",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    metavar="N",
    help="Frames that the slow references work on in each round; their time a frame is taken for"
    " the whole clip's.",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    metavar="N",
    help="How often everything runs, in turns; medians are told.",
)
@click.option(
    "--growth",
    multiple=True,
    metavar="KIND[=VALUES]",
    help="How cost grows with length, people or resolution; length=60,1200 names the values. Can be"
    " given several times.",
)
@click.option(
    "--max-width",
    "max_width_px",
    type=click.IntRange(min=64),
    default=1920,
    show_default=True,
    metavar="PIXELS",
    help="Width of the written videos at most, as of `dtsvibe run`.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="CPU threads of every way. Otherwise dtsvibe's own choice, and all cores for the"
    " references. Give 1 on a machine that is busy.",
)
@click.option(
    "--picture",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Draw bars into this .png (or .svg, .pdf).",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for programs.")
@click.option("--quiet", "-q", is_flag=True, help="Show warnings and errors only.")
@report_errors
def bench(
    *,
    source: Path | None,
    people: int,
    size: tuple[int, int],
    seconds: float,
    skip: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    **keywords: Any,
) -> None:
    """Measure speed and memory on VIDEO, or on a generated clip, beside the usual way.

    \b
    dtsvibe bench                                   one person, 1280x720, ten seconds
    dtsvibe bench dance.mp4 --picture bench.png     a video of your own, and a picture of the result
    dtsvibe bench --people 3 --skip vibe            three people; only the quicker reference
    dtsvibe bench --growth length=60,1200           does memory stay flat?
    dtsvibe bench film.mp4 --growth length=60,1200  also with cuts, hence many short tracks?

    The usual way is that of VIBE's demo: a detector and a ResNet-50 on every frame, a GRU, a mesh
    made anew for each body that is drawn, and PNG files between the steps. It is rebuilt here with
    untrained networks of the same architecture, once with YOLOv3 and once with YOLO11n, works on
    the same people and writes the same picture. Everything runs in turns; nothing else should run
    on the machine.
    """  # noqa: D301
    from dtsvibe_cli.bench.clip import ClipSpec
    from dtsvibe_cli.bench.run import bench as measure

    spec = ClipSpec(people=people, width_px=size[0], height_px=size[1], seconds=seconds)
    names: tuple[ReferenceName, ...] = ("vibe", "nano")
    references = [name for name in names if name not in skip]
    report = measure(source or spec, references=references, **keywords)
    if as_json:
        print_json(report.to_json())
    else:
        _show(report)


def _show(report: "BenchReport") -> None:
    """The tables, on stdout."""
    from rich.console import Console

    from dtsvibe_cli.bench.tables import (
        growth_table,
        network_table,
        notes,
        speed_table,
        stage_table,
    )

    console = Console(width=None if Console().is_terminal else 120)
    console.print(speed_table(report))
    console.print(stage_table(report))
    console.print(network_table(report.network_paths))
    for growth, points in report.growth:
        console.print(growth_table(growth, points))
    for note in notes(report):
        console.print(note)
