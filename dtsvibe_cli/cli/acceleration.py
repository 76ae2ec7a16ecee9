"""``dtsvibe acceleration``: how shaky results are along time (the paper's figure 5)."""

from pathlib import Path
from typing import Any

import click

from dtsvibe_cli.cli._errors import report_errors
from dtsvibe_cli.cli._options import FIGURE, RESULTS, options


@click.command()
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--truth",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="FILE",
    help="What is exactly known of the video: a NAME_truth.npz.",
)
@options(RESULTS, FIGURE)
@report_errors
def acceleration(
    *, results: tuple[Path, ...], truth: Path, out: Path, quiet: bool, **keywords: Any
) -> None:
    """Draw the acceleration error of results along time, with frames of the video above.

    \b
    dtsvibe run walk.mp4 --out refined
    dtsvibe run walk.mp4 --out network --no-refine
    dtsvibe acceleration network refined --truth walk_truth.npz --out accel.png

    RESULTS are NAME_smpl.npz files, or the folders they are in, all of one video. The error is how
    far the joints' acceleration is off, the body's place left out: it shows shaking and missed
    quick moves.
    """  # noqa: D301
    from dtsvibe_cli.figures.acceleration import draw_acceleration

    curves = draw_acceleration(results, truth, out, **keywords)
    if not quiet:
        for curve in curves:
            click.echo(f"{curve.label}: mean {curve.mean_mm:.2f} mm/frame^2", err=True)
    click.echo(out)
