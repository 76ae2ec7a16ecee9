"""``dtsvibe render``: draw saved results again; no network involved."""

from pathlib import Path
from typing import Any

import click

from dtsvibe_cli.cli._console import print_json, progress_bars
from dtsvibe_cli.cli._errors import report_errors
from dtsvibe_cli.cli._options import OUTPUT, RENDER, body_model, options


@click.command()
@click.argument("results", type=click.Path(path_type=Path), metavar="RESULTS")
@click.option(
    "--out",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The video to write.  [default: NAME_overlay.mp4 beside the results]",
)
@click.option(
    "--source",
    type=click.Path(path_type=Path),
    metavar="VIDEO",
    help="The input video, if it is no longer where it was.",
)
@options((body_model,), RENDER, OUTPUT)
@report_errors
def render(
    *, results: Path, out: Path | None, overwrite: bool, as_json: bool, quiet: bool, **keywords: Any
) -> None:
    """Draw the bodies of an earlier run again, with another look.

    \b
    dtsvibe render out --view top --overwrite
    dtsvibe render out/dance_smpl.npz --out wire.mp4 --wireframe --layout overlay

    RESULTS is a NAME_smpl.npz, or the folder it is in. The input video must still be there.
    """  # noqa: D301
    from dtsvibe_cli import pipeline
    from dtsvibe_cli.errors import ConfigError
    from dtsvibe_cli.results import ResultPaths, load_results

    motion = load_results(results)
    folder = results if results.is_dir() else results.parent
    out = out or ResultPaths.of(folder, motion.video.path).overlay
    if out.exists() and not overwrite:
        raise ConfigError(f"{out} exists: give --overwrite to replace it, or another --out.")
    with progress_bars(quiet=quiet) as on_progress:
        written = pipeline.render_video(motion, out, on_progress=on_progress, **keywords)
    if as_json:
        print_json({"written": [written]})
    else:
        click.echo(written)
