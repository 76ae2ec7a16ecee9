"""``dtsvibe synthesize``: training sequences of rendered people."""

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
    help="Folder of motion capture files, as for `dtsvibe train`.",
)
@click.option(
    "--out",
    "-o",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="Folder of the sequences; what is there already is kept.",
)
@click.option(
    "--scenes",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    metavar="N",
    help="Scenes in all; each person seen in one gives a sequence, about 1.4 a scene.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Chooses everything.")
@click.option(
    "--places",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder of photographs and panoramas; the user's cache folder by default.",
)
@click.option(
    "--collect", is_flag=True, help="First fetch the photographs from Debian's and npm's packages."
)
@click.option("--plain", is_flag=True, help="Do without photographs: made-up backgrounds only.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Processes; each wants a core.",
)
@click.option("--quiet", "-q", is_flag=True, help="Show warnings and errors only.")
@report_errors
def synthesize(
    *,
    motion: Path,
    out: Path,
    scenes: int,
    seed: int,
    places: Path | None,
    collect: bool,
    plain: bool,
    workers: int,
    quiet: bool,
) -> None:
    """Draw people over photographs and keep what the product's networks see of them.

    \b
    dtsvibe synthesize --motion cmu/ --out sequences --collect
    dtsvibe synthesize --motion cmu/ --out sequences --scenes 5000 --workers 4

    Motion, bodies, clothes, light and cameras are random; the labels are exact. Every scene is a
    function of the seed and its number: an interrupted run goes on where it stopped.
    """  # noqa: D301
    from dtsvibe_cli.builders.places import collect_places, places_folder
    from dtsvibe_cli.training.synthesis import render_sequences

    folder = places or places_folder()
    with progress_bars(quiet=quiet) as on_progress:
        if collect:
            collect_places(folder, on_progress)
        number = render_sequences(
            motion,
            out,
            scenes=scenes,
            seed=seed,
            places=None if plain else folder,
            workers=workers,
            on_progress=on_progress,
        )
    click.echo(f"{number} sequences in {out}")
