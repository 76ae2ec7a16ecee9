"""What an evaluation says: facts, tables, remarks; as Markdown and JSON, written whole or not."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from dtsvibe_cli import __version__
from dtsvibe_cli.errors import ConfigError
from dtsvibe_cli.evaluation.tables import Table
from dtsvibe_cli.results import atomic_path

STEM: Final = "evaluation"
"""Of the files: ``evaluation.md`` and ``evaluation.json``."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Tables, and all that their numbers depend on."""

    title: str
    facts: tuple[tuple[str, str], ...]
    """What and how it was measured, in words: data, joints, boxes, alignment, units."""
    tables: tuple[Table, ...]
    remarks: tuple[str, ...] = ()
    """What a reader of the numbers must know: people missed, sequences without results."""
    made_with: dict[str, Any] = field(default_factory=dict)
    """Versions, command, weights with checksums, settings: plain JSON values."""

    def to_markdown(self) -> str:
        """The whole evaluation as a page."""
        lines = [f"# {self.title}", ""]
        lines += [f"- {name}: {text}" for name, text in self.facts]
        lines += [f"- Remark: {text}" for text in self.remarks]
        parts = ["\n".join(lines) + "\n", *(table.to_markdown() for table in self.tables)]
        return "\n".join([*parts, "## Made with", "", "```json", _dump(self.made_with), "```", ""])

    def to_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return {
            "format": "dtsvibe-evaluation",
            "schema_version": 1,
            "software": f"dtsvibe {__version__}",
            "title": self.title,
            "facts": dict(self.facts),
            "remarks": list(self.remarks),
            "tables": {table.key: table.to_json() for table in self.tables},
            "made_with": self.made_with,
        }


def free_files(out: Path, *, overwrite: bool, stem: str = STEM) -> tuple[Path, Path]:
    """Where an evaluation goes in a folder.

    Raises:
        ConfigError: One of the files exists and must not be replaced.
    """
    paths = out / f"{stem}.md", out / f"{stem}.json"
    there = [path for path in paths if path.exists()]
    if there and not overwrite:
        raise ConfigError(f"{there[0]} exists: give --overwrite to replace it, or another --out.")
    return paths


def write_evaluation(
    evaluation: Evaluation, out: Path, *, overwrite: bool = False, stem: str = STEM
) -> tuple[Path, Path]:
    """Write ``STEM.md`` and ``STEM.json`` into a folder; returns their paths.

    Raises:
        ConfigError: One of them exists and must not be replaced.
        ResultsError: The folder cannot be written.
    """
    markdown, plain = free_files(out, overwrite=overwrite, stem=stem)
    with atomic_path(markdown) as part:
        part.write_text(evaluation.to_markdown(), encoding="utf-8")
    with atomic_path(plain) as part:
        part.write_text(_dump(evaluation.to_json()) + "\n", encoding="utf-8")
    return markdown, plain


def _dump(values: dict[str, Any]) -> str:
    return json.dumps(values, indent=1, default=str, allow_nan=False)
