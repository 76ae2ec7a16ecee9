"""``dtsvibe prepare``: from a data set to the sequences that ``dtsvibe train`` takes."""

from pathlib import Path

import click

from dtsvibe_cli.cli._console import progress_bars
from dtsvibe_cli.cli._errors import report_errors

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("dataset", metavar="DATASET")
@click.argument("root", metavar="ROOT", type=click.Path(path_type=Path))
@click.option(
    "--out",
    "-o",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="Folder for the sequences. Several data sets may share it.",
)
@click.option(
    "--config",
    type=click.Choice(["lite", "paper"]),
    default="lite",
    show_default=True,
    help="What will be trained: lite takes landmarks, paper features of pictures and fine flow.",
)
@click.option(
    "--split",
    type=click.Choice(["train", "validation", "test"]),
    default="train",
    show_default=True,
    help="Part of the data set; all but train go to a folder of that name in DIR, which `dtsvibe"
    " train` only validates on.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="Take only the first N recordings of the part, to try things out.",
)
@click.option(
    "--image-network",
    type=_FILE,
    help="ResNet-50 of paper: SPIN's checkpoint, or torchvision's weights (.pt, .pth).",
)
@click.option(
    "--body-model",
    type=_FILE,
    help="SMPL file to train with, instead of the free body that is built in.",
)
@click.option(
    "--flow",
    default="auto",
    show_default=True,
    metavar="NAME|FILE",
    help="How image motion is measured: auto, dis, torch, or a file of RAFT weights.",
)
@click.option(
    "--device", default="auto", show_default=True, metavar="NAME", help="auto, cpu or cuda."
)
@click.option("--quiet", "-q", is_flag=True, help="Show warnings and errors only.")
@report_errors
def prepare(
    *,
    dataset: str,
    root: Path,
    out: Path,
    config: str,
    split: str,
    limit: int | None,
    image_network: Path | None,
    body_model: Path | None,
    flow: str,
    device: str,
    quiet: bool,
) -> None:
    """Make training sequences of the data set DATASET in the folder ROOT.

    \b
    dtsvibe prepare 3dpw 3DPW/ --out prepared/
    dtsvibe prepare posetrack posetrack2018/ --out prepared/
    dtsvibe prepare synthetic examples/ --out prepared/
    dtsvibe prepare h36m h36m/ --out paper/ --config paper --image-network spin.pt
    dtsvibe train --data prepared/ --out runs/mine

    DATASET is one of 3dpw, h36m, 3dhp, instavariety, pennaction, posetrack, synthetic, or ours, a
    folder with a truth.toml as `dtsvibe evaluate` takes it. Everybody labelled is looked at as
    `dtsvibe run` would, the labelled boxes standing for the detector's. Sequences that are there
    are kept, so an interrupted run goes on where it was. On the disk, a person and
    frame takes 6 kB with lite, and 210 kB with paper, whose flow is as fine as its pictures: a
    minute of a person some 380 MB. AMASS needs no preparing: give its folder to
    `dtsvibe train --motion`.
    """  # noqa: D301
    from dtsvibe_cli.training.prepare import prepare as prepare_dataset

    with progress_bars(quiet=quiet) as on_progress:
        prepared = prepare_dataset(
            dataset,
            root,
            out,
            config=config,
            split=split,
            limit=limit,
            image_network=image_network,
            body_model=body_model,
            flow=flow,
            device=device,
            on_progress=on_progress,
        )
    if not quiet:
        click.echo(
            f"{len(prepared.written)} sequences written ({prepared.minutes:.1f} minutes), "
            f"{len(prepared.kept)} were there, {len(prepared.skipped)} left out.",
            err=True,
        )
    click.echo(prepared.report)
