"""``dtsvibe train``: train the network on recorded motion; no images needed."""

from pathlib import Path

import click

from dtsvibe_cli.cli._console import progress_bars
from dtsvibe_cli.cli._errors import report_errors


@click.command()
@click.option(
    "--motion",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="Folder of motion capture files: .amc with their .asf, .bvh, or exponential maps.",
)
@click.option(
    "--out",
    "-o",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="Folder of the run: checkpoint, log, curve and the finished weights.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="TOML file with what should differ from the defaults, which train `lite`.",
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    metavar="N",
    help="Train for so many steps instead of the configuration's.",
)
@click.option(
    "--resume", is_flag=True, help="Go on from the folder's checkpoint instead of refusing it."
)
@click.option(
    "--device", default="auto", show_default=True, metavar="NAME", help="auto, cpu or cuda."
)
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    metavar="N",
    help="Processes that simulate batches beside the training.",
)
@click.option("--quiet", "-q", is_flag=True, help="Show warnings and errors only.")
@report_errors
def train(
    *,
    motion: Path,
    out: Path,
    config: Path | None,
    steps: int | None,
    resume: bool,
    device: str,
    workers: int,
    quiet: bool,
) -> None:
    """Train the network on motion capture, with simulated landmarks and flow.

    \b
    dtsvibe train --motion cmu/ --out runs/lite
    dtsvibe train --motion cmu/ --out runs/lite --resume
    dtsvibe run dance.mp4 --weights runs/lite/network.safetensors

    Every batch is new and a function of the seed and the step, so a run resumes exactly. Clips
    named in the source as held out, and folders named test, are only validated on.
    """  # noqa: D301
    from dtsvibe_cli.training.run import train as train_network

    with progress_bars(quiet=quiet) as on_progress:
        written = train_network(
            motion,
            out,
            config=config,
            steps=steps,
            resume=resume,
            device=device,
            workers=workers,
            on_progress=on_progress,
        )
    for path in written:
        click.echo(path)
