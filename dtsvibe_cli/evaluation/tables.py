"""Tables of named measures: for Markdown, for JSON, and for whoever draws them on a terminal."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

Value = str | float | int | None
"""A cell; None and NaN are not measured."""

_MISSING: Final = "–"  # noqa: RUF001 (an en dash)


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column: its key in JSON, its title with the unit, its decimals when it holds numbers."""

    key: str
    title: str
    decimals: int = 1

    def text(self, value: Value) -> str:
        """A cell as it is shown.

        >>> Column(key="mpjpe_mm", title="MPJPE mm").text(76.74)
        '76.7'
        """
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return _MISSING
        return f"{value:.{self.decimals}f}" if isinstance(value, float) else str(value)


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of measures under a caption that says what they are measures of."""

    key: str
    """Name in JSON."""
    title: str
    caption: str
    """Joint set, alignment, boxes: whatever must not be read apart from the numbers."""
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"a row of the table {self.key!r} does not fit its columns")

    def without_empty_columns(self) -> "Table":
        """The same without columns in which nothing was measured."""
        kept = [
            number
            for number, column in enumerate(self.columns)
            if not self.rows or any(column.text(row[number]) != _MISSING for row in self.rows)
        ]
        return Table(
            key=self.key,
            title=self.title,
            caption=self.caption,
            columns=tuple(self.columns[number] for number in kept),
            rows=tuple(tuple(row[number] for number in kept) for row in self.rows),
        )

    def texts(self) -> list[list[str]]:
        """The cells as they are shown, row by row."""
        return [
            [column.text(value) for column, value in zip(self.columns, row, strict=True)]
            for row in self.rows
        ]

    def to_markdown(self) -> str:
        """A heading, the caption, and a table in GitHub's manner."""
        titles = [column.title for column in self.columns]
        rule = ["---", *["---:"] * (len(titles) - 1)]
        lines = [_line(row) for row in (titles, rule, *self.texts())]
        return "\n".join([f"## {self.title}", "", self.caption, "", *lines]) + "\n"

    def to_json(self) -> dict[str, Any]:
        """Plain values: a list of rows by key; what is not measured is null."""
        return {
            "title": self.title,
            "caption": self.caption,
            "columns": {column.key: column.title for column in self.columns},
            "rows": [
                {column.key: _plain(value) for column, value in zip(self.columns, row, strict=True)}
                for row in self.rows
            ],
        }


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _plain(value: Value) -> Value:
    return None if isinstance(value, float) and not math.isfinite(value) else value
