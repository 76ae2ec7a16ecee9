"""Tables of measures on a terminal."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from dtsvibe_cli.evaluation.outcome import Evaluation


def print_evaluation(evaluation: "Evaluation") -> None:
    """Facts, remarks and tables: drawn on a terminal, Markdown elsewhere (a file, a pipe)."""
    from rich.console import Console
    from rich.table import Table as RichTable

    console = Console()
    if not console.is_terminal:
        click.echo(evaluation.to_markdown())
        return
    console.print(evaluation.title, style="bold", markup=False)
    for name, text in (*evaluation.facts, *(("Remark", text) for text in evaluation.remarks)):
        console.print(f"{name}: {text}", markup=False, highlight=False)
    for table in evaluation.tables:
        drawn = RichTable(title=table.title, caption=table.caption)
        for number, column in enumerate(table.columns):
            drawn.add_column(column.title, justify="right" if number else "left")
        for row in table.texts():
            drawn.add_row(*row)
        console.print(drawn)
