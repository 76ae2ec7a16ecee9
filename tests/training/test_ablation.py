"""The ablation with networks of a few thousand parameters, a few steps a row."""

import csv
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from motion_files import write_random_amc
from sequence_examples import random_sequence

from dtsvibe_cli.cli import main
from dtsvibe_cli.errors import ConfigError
from dtsvibe_cli.models.checkpoint import load_network
from dtsvibe_cli.training import ablation, held_out, validation
from dtsvibe_cli.training.ablation import run_ablation
from dtsvibe_cli.training.ablation_plan import VARIANTS, choose_config, stages
from dtsvibe_cli.training.config import TrainConfig
from dtsvibe_cli.training.logs import LOG
from dtsvibe_cli.training.sequences import write_sequence
from dtsvibe_cli.weights import sha256_of

TINY = """
steps = 4
batch_size = 2
validate_every = 1
seed = 3
[model]
name = "mine"
window = 4
flow_side = 8
d_model = 16
encoder_layers = 1
encoder_heads = 2
encoder_feedforward = 16
regressor_layers = 1
d_regressor = 8
"""

KEYS = [variant.key for variant in VARIANTS]


@pytest.fixture(autouse=True, scope="module")
def _few_windows() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation, "NUM_VALIDATION_BATCHES", 1)
        patch.setattr(validation, "VALIDATION_WINDOWS", 2)
        patch.setattr(held_out, "MIN_WINDOWS", 6)
        patch.setattr(held_out, "TIMES_COVERED", 1)
        patch.setattr(held_out, "BATCH", 4)
        yield


@pytest.fixture(scope="module")
def motion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("motion")
    write_random_amc(folder / "train", "07_01", frames=40, seed=0)
    write_random_amc(folder / "test", "waving_1", frames=40, seed=1)
    write_random_amc(folder / "test", "03_03", frames=40, seed=2)
    return folder


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="module")
def finished(motion: Path, config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ablation of four steps a row, not to be changed."""
    out = tmp_path_factory.mktemp("finished") / "ablation"
    result = call(motion, out, "--config", config)
    assert result.exit_code == 0, result.output
    out.with_suffix(".stdout").write_text(result.stdout)
    return out


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """The same, to go on with."""
    return shutil.copytree(finished, tmp_path / "ablation")


def call(motion: Path, out: Path, *more: object) -> Result:
    args = ["evaluate", motion, "--ablation", "--out", out]
    args += ["--device", "cpu", "--workers", 0, "-q", *more]
    return CliRunner().invoke(main, [str(arg) for arg in args])


def log(folder: Path) -> list[dict[str, str]]:
    with (folder / LOG).open() as file:
        return list(csv.DictReader(file))


def rows(out: Path, key: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((out / "ablation.json").read_text())["tables"][key][
        "rows"
    ]
    return found


def test_all_rows_are_trained_alike_and_measured(finished: Path) -> None:
    out = finished
    for variant in VARIANTS:
        first, second = (
            out / "seed3" / variant.network / "first",
            out / "seed3" / variant.key / "second",
        )
        assert int(log(first)[-1]["step"]) + int(log(second)[-1]["step"]) == 4
        assert float(log(first)[-1]["loss_flow"]) == 0
        assert (float(log(second)[-1]["loss_flow"]) > 0) == variant.flow_loss
        model = load_network(second / "network.safetensors").config
        assert (model.encoder == "gru") == (variant.network == "gru")
        assert (model.regressor == "hmr") == (variant.network == "hmr")
        assert (model.o_cnn == "none") == (variant.network == "no_flow")
    assert len(list(out.rglob("motion.npz"))) == 1  # read once for all
    assert not list(out.rglob("*.part*"))


def test_the_table_says_what_was_measured(finished: Path) -> None:
    out = finished
    written = (out / "ablation.md").read_text()
    assert out.with_suffix(".stdout").read_text() == written + "\n"
    table_2, table_3 = rows(out, "table_2"), rows(out, "table_3")
    assert [(row["encoder"], row["regressor"]) for row in table_2] == [
        ("GRU", "transformer"),
        ("transformer", "HMR"),
        ("transformer", "transformer"),
    ]
    assert [row["flow"] for row in table_3] == ["none", "flow", "flow and flow loss"]
    assert [row["paper_pa_mpjpe_mm"] for row in table_2] == [51.1, 50.6, 50.3]
    assert [row["paper_accel_mm"] for row in table_3] == [12.9, 13.2, 12.3]
    of_key = dict(zip(("gru", "hmr", "full"), table_2, strict=True))
    of_key |= dict(zip(("no_flow", "flow", "full"), table_3, strict=True))
    for key, row in of_key.items():
        folder = out / "seed3" / key
        summary = json.loads((folder / "evaluation.json").read_text())["tables"]["summary"]
        for name in ("frames", "mpjpe_mm", "pa_mpjpe_mm", "accel_mm"):
            assert row[name] == summary["rows"][0][name]
        network = load_network(folder / "second" / "network.safetensors")
        assert row["parameters_m"] == network.num_parameters() / 1e6
        numbers = f"{row['mpjpe_mm']:.1f} | {row['pa_mpjpe_mm']:.1f} | {row['accel_mm']:.2f}"
        assert f"| {row['frames']} | {numbers} |" in written
    assert of_key["no_flow"]["parameters_m"] < of_key["flow"]["parameters_m"]
    assert of_key["flow"]["pa_mpjpe_mm"] != of_key["full"]["pa_mpjpe_mm"]
    facts = json.loads((out / "ablation.json").read_text())["facts"]
    assert facts["Budget of each row"].startswith("4 steps of 2 windows of 4 frames: 3, then 1 at")
    assert facts["Seeds"] == "3"
    assert facts["Trained on"].endswith("Held out: 2 clips, 0.0 minutes")


def test_changes_are_differences_of_the_rows(finished: Path) -> None:
    out = finished
    gru, hmr, full = rows(out, "table_2")
    no_flow, flow, with_loss = rows(out, "table_3")
    pairs = [(gru, full), (hmr, full), (no_flow, flow), (flow, with_loss)]
    changes = rows(out, "changes")
    assert len(changes) == 8
    for (before, after), *both in zip(pairs, changes[::2], changes[1::2], strict=True):
        for name, change in zip(("pa_mpjpe_mm", "accel_mm"), both, strict=True):
            assert change["ours"] == pytest.approx(after[name] - before[name])
            theirs = after[f"paper_{name}"] - before[f"paper_{name}"]
            assert change["paper"] == pytest.approx(theirs)
            assert change["clips_better"].endswith(" of 2")
            if abs(change["ours"]) < 0.05:
                assert change["verdict"] == "no difference"
            elif abs(change["ours"]) <= change["noise"]:
                assert change["verdict"] == "undecided"
            else:
                same = change["ours"] * theirs > 0
                assert change["verdict"] == ("same direction" if same else "opposite")


class _StopError(Exception):
    pass


def test_an_interrupted_ablation_ends_where_a_whole_one_does(
    motion: Path, config: Path, finished: Path, tmp_path: Path
) -> None:
    """Stopped in the middle of a stage: what is finished stays, what is not goes on."""
    out = tmp_path / "ablation"
    keywords: dict[str, Any] = {"device": "cpu", "workers": 0}

    def stop_in(stage: str, step: int) -> Callable[[str, int, int | None], None]:
        def on_progress(name: str, done: int, total: int | None) -> None:
            if (name, done) == (stage, step):
                raise _StopError

        return on_progress

    with pytest.raises(_StopError):
        run_ablation(
            motion, out, config=config, on_progress=stop_in("no_flow train", 2), **keywords
        )
    assert "Not finished" in (out / "ablation.md").read_text()
    assert [row["pa_mpjpe_mm"] is None for row in rows(out, "table_3")] == [True, False, False]
    full = out / "seed3" / "full" / "second" / "checkpoint.pt"
    before = full.stat().st_mtime_ns, sha256_of(full)
    steps: list[tuple[str, int]] = []
    run_ablation(
        motion,
        out,
        resume=True,
        on_progress=lambda name, done, _: steps.append((name, done)),
        **keywords,
    )
    assert (full.stat().st_mtime_ns, sha256_of(full)) == before
    assert [done for name, done in steps if name == "full train"] == [3, 4]  # nothing but the ends
    assert next(done for name, done in steps if name == "no_flow train") == 2  # after step 1's save
    for key in KEYS:
        networks = [
            folder / "seed3" / key / "second" / "network.safetensors" for folder in (finished, out)
        ]
        states = [load_network(path).state_dict() for path in networks]
        assert all((states[0][name] == states[1][name]).all() for name in states[0])
    assert "Not finished" not in (out / "ablation.md").read_text()
    for key in ("table_2", "table_3"):
        ours, theirs = (
            [{n: v for n, v in row.items() if n != "minutes"} for row in rows(folder, key)]
            for folder in (finished, out)
        )
        assert ours == theirs


def test_several_seeds_show_their_spread(
    motion: Path, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ablation, "VARIANTS", (VARIANTS[0], VARIANTS[3]))
    out = copied
    one = rows(out, "table_2")[0]
    assert "pa_mpjpe_mm_sd" not in one
    assert "One seed" in (out / "ablation.md").read_text()
    result = call(motion, out, "--resume", "--seeds", 2)  # goes on with one more
    assert result.exit_code == 0, result.output
    both = rows(out, "table_2")[0]
    other = json.loads((out / "seed4" / "gru" / "evaluation.json").read_text())["tables"]["summary"]
    values = [one["pa_mpjpe_mm"], other["rows"][0]["pa_mpjpe_mm"]]
    assert both["pa_mpjpe_mm"] == pytest.approx(sum(values) / 2)
    assert both["pa_mpjpe_mm_sd"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
    assert rows(out, "changes")[0]["clips_better"].endswith(" of 4")


def test_prepared_sequences_are_trained_on_too(
    motion: Path, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ablation, "VARIANTS", VARIANTS[:1])
    for k in range(2):
        write_sequence(tmp_path / "prepared", random_sequence(20, name=f"person{k}", seed=k))
    out = tmp_path / "ablation"
    data = ("--data", tmp_path / "prepared")
    result = call(motion, out, "--config", config, "--steps", 2, *data)
    assert result.exit_code == 0, result.output
    assert str(tmp_path / "prepared") in (out / "ablation.md").read_text()
    refused = call(motion, out, "--resume")
    assert refused.exit_code == 1
    assert "with other files of motion or data" in refused.stderr


def test_clips_are_run_through_the_program_unrefined(
    motion: Path, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is measured on a clip is one row's network, alone."""
    monkeypatch.setattr(ablation, "VARIANTS", VARIANTS[:2])
    calls: list[dict[str, Any]] = []

    def measured(clips: Path, **keywords: Any) -> Any:
        calls.append(keywords)
        return held_out.evaluate_motion(motion, weights=keywords["weights"], device="cpu", seed=9)

    monkeypatch.setattr(ablation, "evaluate", measured)
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "walk_truth.npz").touch()
    out = tmp_path / "ablation"
    result = call(motion, out, "--config", config, "--steps", 2, "--clips", tmp_path / "clips")
    assert result.exit_code == 0, result.output
    assert len(calls) == 2
    assert {(call["refine"], call["smooth_s"], call["format"]) for call in calls} == {
        (False, 0.0, "synthetic")
    }
    none, *both = (row["clips_pa_mpjpe_mm"] for row in rows(out, "table_3"))
    assert none is None
    assert min(both) > 0
    missing = call(motion, out, "--resume", "--clips", tmp_path / "none")
    assert f"There is no {tmp_path / 'none'}" in missing.stderr


def test_another_budget_is_refused(motion: Path, config: Path, copied: Path) -> None:
    out = copied
    again = call(motion, out, "--config", config)
    assert again.exit_code == 1
    assert "holds an ablation: give --resume" in again.stderr
    longer = call(motion, out, "--resume", "--steps", 3)
    assert "was started with another configuration or other --steps" in longer.stderr
    (out / "plan.json").write_text("{")
    assert "plan.json is damaged" in call(motion, out, "--resume").stderr


def test_without_motion_there_is_nothing_left_behind(tmp_path: Path, config: Path) -> None:
    out = tmp_path / "ablation"
    missing = call(tmp_path / "none", out, "--config", config)
    assert missing.exit_code == 1
    assert "no folder of motion files" in missing.stderr
    assert not out.exists()
    write_random_amc(tmp_path / "motion", "07_01", frames=20, seed=0)
    only_train = call(tmp_path / "motion", out, "--config", config)
    assert "No motion is held out" in only_train.stderr
    assert not list(out.rglob("*.safetensors"))
    assert not (out / "plan.json").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[model]\nname = "m"\nencoder = "gru"', "m is not the whole network"),
        ('[model]\nname = "m"\no_cnn = "none"', "m is not the whole network"),
        ('[model]\nname = "m"\nv_cnn = "resnet50"', "m looks at pictures"),
        ("steps = 1", "A row has two stages"),
        ("stepps = 1", "stepps"),
    ],
)
def test_a_network_that_nothing_can_be_taken_from_is_one_sentence(
    motion: Path, tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    result = call(motion, tmp_path / "ablation", "--config", path)
    assert result.exit_code == 1
    assert message in result.stderr
    assert not (tmp_path / "ablation").exists()


def test_stages_share_the_budget_and_differ_in_the_loss_alone() -> None:
    config = replace(TrainConfig(), steps=1000)
    by_key = {variant.key: stages(config, variant) for variant in VARIANTS}
    for first, second in by_key.values():
        assert (first.steps, second.steps) == (800, 200)
        assert first.warmup_steps == 80
        assert second.learning_rate == 1e-5
        assert (first.batch_size, first.seed) == (config.batch_size, config.seed)
    assert by_key["flow"][0] == by_key["full"][0]
    flow, full = by_key["flow"][1], by_key["full"][1]
    assert full.loss.flow > flow.loss.flow == 0
    assert replace(flow, loss=full.loss) == full


def test_lite_with_fewer_steps_is_the_default() -> None:
    chosen = choose_config(None, None, None, None)
    assert chosen == replace(TrainConfig(), steps=1000)
    assert choose_config("lite", 50, None, None).steps == 50


def test_a_narrow_network_keeps_its_proportions() -> None:
    model = choose_config(None, None, 192, None).model
    assert (model.d_model, model.encoder_feedforward, model.d_regressor) == (192, 384, 96)
    assert model.name == "lite-192"
    with pytest.raises(ConfigError, match="must be a multiple"):
        choose_config(None, None, 100, None)
