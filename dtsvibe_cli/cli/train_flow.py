"""``dtsvibe train-flow``: train a network that measures optical flow; no data needed."""

from pathlib import Path

import click

from dtsvibe_cli.cli._console import progress_bars
from dtsvibe_cli.cli._errors import report_errors


@click.command("train-flow")
@click.option(
    "--out",
    "-o",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="Folder of the run: checkpoint, log and raft_small.safetensors.",
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=20_000,
    show_default=True,
    metavar="N",
    help="How long to train.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    metavar="N",
    help="Pairs of pictures in a step.",
)
@click.option(
    "--pairs",
    type=click.IntRange(min=1),
    default=50_000,
    show_default=True,
    metavar="N",
    help="How many different pairs to draw; each is seen in eight mirror images.",
)
@click.option(
    "--updates",
    type=click.IntRange(min=1),
    default=12,
    show_default=True,
    metavar="N",
    help="How often the network corrects its estimate, in training.",
)
@click.option(
    "--resume", is_flag=True, help="Go on from the folder's checkpoint instead of refusing it."
)
@click.option(
    "--device", default="auto", show_default=True, metavar="NAME", help="auto, cpu or cuda."
)
@click.option("--quiet", "-q", is_flag=True, help="Show warnings and errors only.")
@report_errors
def train_flow(
    *,
    out: Path,
    steps: int,
    batch_size: int,
    pairs: int,
    updates: int,
    resume: bool,
    device: str,
    quiet: bool,
) -> None:
    """Train RAFT-small on drawn people whose flow is exactly known.

    \b
    dtsvibe train-flow --out runs/flow --device cuda
    dtsvibe run dance.mp4 --flow runs/flow/raft_small.safetensors

    The pairs are drawn on the way, 4096 of them are kept in memory: on a CPU, ask for fewer than
    that (--pairs 4000 --updates 6).
    """  # noqa: D301
    from dtsvibe_cli.training import flow_training

    config = flow_training.FlowTrainConfig(
        steps=steps, batch_size=batch_size, num_pairs=pairs, updates=updates
    )
    with progress_bars(quiet=quiet) as on_progress:
        weights = flow_training.train_flow(
            out, config=config, resume=resume, device=device, on_progress=on_progress
        )
    click.echo(weights)
