"""``dtsvibe attention``: what the network looks at in time (the paper's figure 4)."""

from pathlib import Path

import click

from dtsvibe_cli.cli._console import progress_bars
from dtsvibe_cli.cli._errors import report_errors
from dtsvibe_cli.cli._options import FIGURE, options


@click.command()
@click.argument("sources", nargs=-1, type=click.Path(path_type=Path), metavar="VIDEO...")
@click.option(
    "--motion",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Instead of videos: a folder of motion capture, seen as `dtsvibe train` sees it.",
)
@click.option(
    "--windows",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    metavar="N",
    help="Average over so many windows of frames, if there are as many.",
)
@click.option(
    "--weights",
    default="lite",
    show_default=True,
    metavar="NAME|FILE",
    help="Trained network: a built-in one or a .safetensors file.",
)
@click.option(
    "--device", default="auto", show_default=True, metavar="NAME", help="auto, cpu or cuda."
)
@options(FIGURE)
@report_errors
def attention(
    *,
    sources: tuple[Path, ...],
    out: Path,
    motion: Path | None,
    windows: int,
    weights: str,
    device: str,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Draw which frames the network looks at, for each of its attention heads.

    \b
    dtsvibe attention dance.mp4 walk.mp4 --out attention.png
    dtsvibe attention out/dance_smpl.npz --out attention.pdf
    dtsvibe attention --motion cmu/ --out attention.png

    Each square is one head of the first layer: the darker the place, the more the frame of that row
    looks at the frame of that column, on average over the windows of 16 frames in which people are
    followed. A result of `dtsvibe run` stands for its video.
    """  # noqa: D301
    from dtsvibe_cli.figures.attention import draw_attention

    with progress_bars(quiet=quiet) as on_progress:
        maps = draw_attention(
            sources,
            out,
            motion=motion,
            windows=windows,
            weights=weights,
            device=device,
            overwrite=overwrite,
            on_progress=on_progress,
        )
    if maps.num_windows < windows and not quiet:
        click.echo(f"Averaged over {maps.num_windows} windows: there are no more.", err=True)
    click.echo(out)
