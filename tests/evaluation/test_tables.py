import json
from pathlib import Path

import pytest

from dtsvibe_cli.errors import ConfigError
from dtsvibe_cli.evaluation.outcome import Evaluation, write_evaluation
from dtsvibe_cli.evaluation.tables import Column, Table

TABLE = Table(
    key="ablation",
    title="Encoders",
    caption="24 joints; mm",
    columns=(
        Column(key="name", title="encoder"),
        Column(key="pa_mpjpe_mm", title="PA-MPJPE mm"),
        Column(key="pve_mm", title="PVE mm"),
        Column(key="frames", title="frames"),
    ),
    rows=(("GRU | HMR", 51.06, float("nan"), 7), ("transformer", float("nan"), None, 7)),
)


def evaluation() -> Evaluation:
    return Evaluation(
        title="Test",
        facts=(("Joints", "24"),),
        tables=(TABLE,),
        remarks=("one was missed",),
        made_with={"command": "x"},
    )


def test_markdown_shows_units_and_what_is_missing() -> None:
    lines = TABLE.to_markdown().splitlines()
    assert lines[0] == "## Encoders"
    assert "24 joints; mm" in lines
    assert lines[-4:] == [
        "| encoder | PA-MPJPE mm | PVE mm | frames |",
        "| --- | ---: | ---: | ---: |",
        r"| GRU \| HMR | 51.1 | – | 7 |",  # noqa: RUF001
        "| transformer | – | – | 7 |",  # noqa: RUF001
    ]


def test_columns_without_a_number_go() -> None:
    keys = [column.key for column in TABLE.without_empty_columns().columns]
    assert keys == ["name", "pa_mpjpe_mm", "frames"]


def test_json_has_full_numbers_and_nulls() -> None:
    rows = json.loads(json.dumps(TABLE.to_json(), allow_nan=False))["rows"]
    assert rows[0] == {"name": "GRU | HMR", "pa_mpjpe_mm": 51.06, "pve_mm": None, "frames": 7}


def test_a_row_that_does_not_fit_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Table(key="t", title="", caption="", columns=TABLE.columns, rows=(("a",),))


def test_an_evaluation_is_written_whole_and_not_over_another(tmp_path: Path) -> None:
    markdown, plain = write_evaluation(evaluation(), tmp_path / "new")
    assert "one was missed" in markdown.read_text()
    assert json.loads(plain.read_text())["tables"]["ablation"]["title"] == "Encoders"
    assert sorted(path.name for path in markdown.parent.iterdir()) == [
        "evaluation.json",
        "evaluation.md",
    ]
    with pytest.raises(ConfigError, match="--overwrite"):
        write_evaluation(evaluation(), tmp_path / "new")
    write_evaluation(evaluation(), tmp_path / "new", overwrite=True)
