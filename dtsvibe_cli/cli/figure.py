"""``dtsvibe figure``: frames beside the bodies found in them (the paper's figure 6)."""

from pathlib import Path
from typing import Any

import click

from dtsvibe_cli.cli._errors import report_errors
from dtsvibe_cli.cli._options import FIGURE, RESULTS, body_model, options


@click.command()
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
@options(RESULTS)
@click.option(
    "--view",
    default="side",
    show_default=True,
    metavar="VIEW",
    help="The other view: side, top, or around:DEGREES towards the right.",
)
@click.option(
    "--crop/--no-crop",
    default=True,
    show_default=True,
    help="Show the surroundings of the people, or whole frames.",
)
@click.option(
    "--renderer",
    type=click.Choice(["auto", "egl", "numba", "numpy"]),
    default="auto",
    show_default=True,
    help="What draws: egl uses the graphics driver; numba and numpy need none.",
)
@options((body_model,), FIGURE)
@report_errors
def figure(*, results: tuple[Path, ...], out: Path, quiet: bool, **keywords: Any) -> None:
    """Draw frames beside their bodies: input, camera view, and the view from elsewhere.

    \b
    dtsvibe figure out --out rows.png
    dtsvibe figure out --frames 28,86,143 --view top --out rows.pdf
    dtsvibe figure network refined --label "network alone" --label refined --out compared.png

    RESULTS are NAME_smpl.npz files, or the folders they are in. Results of one video stand beside
    each other, further videos below. The videos must still be there.
    """  # noqa: D301
    from dtsvibe_cli.figures.rows import draw_rows

    draw_rows(results, out, **keywords)
    click.echo(out)
