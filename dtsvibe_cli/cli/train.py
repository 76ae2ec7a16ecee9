"""``dtsvibe train``: train the network on recorded motion, prepared videos, or both."""

import os
from pathlib import Path

import click

from dtsvibe_cli.cli._console import progress_bars
from dtsvibe_cli.cli._errors import report_errors


@click.command()
@click.option(
    "--motion",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder of motion capture files: `lite` is trained on what is simulated from them, and the"
    " paper's discriminator takes them for real.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    multiple=True,
    metavar="DIR",
    help="Folder of prepared sequences (`dtsvibe prepare`); may be given several times.",
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
    metavar="NAME|FILE",
    help="lite (the default), paper (all losses and sizes of the paper), or a TOML file with what"
    " should differ from one of them.",
)
@click.option(
    "--refine",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="RUN_DIR",
    help="Second stage of the paper: start from that run's network, with the flow loss and a small"
    " learning rate, without the discriminator.",
)
@click.option(
    "--image-network",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="ResNet-50 that `dtsvibe prepare` was given for `paper`, so that the finished network can"
    " look at pictures.",
)
@click.option(
    "--body-model",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="SMPL file that the data was prepared with, if not the built-in body.",
)
@click.option(
    "--window",
    type=click.Choice(["8", "16", "32", "64", "128"]),
    metavar="FRAMES",
    help="Frames that the network sees at once: 8, 16 (the default), 32, 64 or 128.",
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
    help="Processes that draw batches beside the training.",
)
@click.option("--quiet", "-q", is_flag=True, help="Show warnings and errors only.")
@report_errors
def train(
    *,
    motion: Path | None,
    data: tuple[Path, ...],
    out: Path,
    config: str | None,
    refine: Path | None,
    image_network: Path | None,
    body_model: Path | None,
    window: str | None,
    steps: int | None,
    resume: bool,
    device: str,
    workers: int,
    quiet: bool,
) -> None:
    """Train the network on motion capture, prepared videos, or both.

    \b
    dtsvibe train --motion cmu/ --out runs/lite
    dtsvibe train --motion cmu/ --out runs/lite --resume
    dtsvibe train --motion cmu/ --out runs/refined --refine runs/lite
    dtsvibe train --config paper --data prepared/ --motion amass/ --out runs/paper
    torchrun --nproc-per-node 4 -m dtsvibe_cli train --motion cmu/ --out runs/lite
    dtsvibe run dance.mp4 --weights runs/lite/network.safetensors

    Every batch is new and a function of the seed and the step, so a run resumes exactly; log.csv
    has a checksum of the weights at each validation. Clips named in the source as held out, and
    folders named test, are only validated on.
    """  # noqa: D301
    from dtsvibe_cli.errors import ConfigError
    from dtsvibe_cli.training.checkpointing import CHECKPOINT
    from dtsvibe_cli.training.run import train as train_network

    if resume and not (out / CHECKPOINT).is_file():
        raise ConfigError(
            f"{out} holds no run to go on with: leave --resume out, or correct --out."
        )
    speaks = os.environ.get("RANK", "0") == "0"  # of torchrun's processes, one speaks for all
    with progress_bars(quiet=quiet or not speaks) as on_progress:
        written = train_network(
            out,
            motion=motion,
            data=data,
            config=config,
            refine=refine,
            steps=steps,
            window=None if window is None else int(window),
            image_network=image_network,
            body_model=body_model,
            resume=resume,
            device=device,
            workers=workers,
            on_progress=on_progress,
        )
    for path in written:
        click.echo(path)
