import csv
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from recorded import bank, body, simulator

from dtsvibe_cli.errors import ConfigError, WeightsError
from dtsvibe_cli.models.config import TINY
from dtsvibe_cli.training import validation
from dtsvibe_cli.training.batches import BatchSource
from dtsvibe_cli.training.checkpointing import CHECKPOINT
from dtsvibe_cli.training.config import TrainConfig
from dtsvibe_cli.training.logs import LOG
from dtsvibe_cli.training.recipes import PAPER_LOSS
from dtsvibe_cli.training.trainer import Trainer, TrainingData, learning_rate
from dtsvibe_cli.training.validation import Validation, validate

CONFIG = TrainConfig(
    model=replace(TINY, window=4, flow_side=8, dropout=0.2),
    steps=4,
    batch_size=3,
    warmup_steps=2,
    validate_every=2,
    precision="fp32",
    seed=7,
)

PAPER = replace(CONFIG, loss=PAPER_LOSS, discriminator_width=8)
"""All losses of the paper's first stage, and the discriminator."""


@pytest.fixture(autouse=True)
def _short_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "NUM_VALIDATION_BATCHES", 1)


def trainer(
    out: Path, config: TrainConfig = CONFIG, workers: int = 0, source: BatchSource | None = None
) -> Trainer:
    shape = {"window": config.model.window, "flow_side": config.model.flow_side}
    data = TrainingData(
        train=source or simulator(**shape),
        held_out=simulator(**shape, held_out=True),
        recorded=bank(),
    )
    return Trainer(config, out, data, body=body(), workers=workers)


def assert_same(a: Any, b: Any, at: str = "") -> None:
    """Bit for bit the same tree of tensors and numbers."""
    if isinstance(a, dict):
        assert a.keys() == b.keys(), at
        for key in a:
            assert_same(a[key], b[key], f"{at}.{key}")
    elif isinstance(a, list):
        assert len(a) == len(b), at
        for k, (left, right) in enumerate(zip(a, b, strict=True)):
            assert_same(left, right, f"{at}[{k}]")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), at
    else:
        assert a == b, at


def checkpoint(out: Path) -> dict[str, Any]:
    saved: dict[str, Any] = torch.load(out / CHECKPOINT, weights_only=True)
    del saved["minutes"]
    return saved


def log_rows(out: Path) -> list[dict[str, str]]:
    with (out / LOG).open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        del row["minutes"]
    return rows


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        replace(CONFIG, precision="bf16"),
        replace(
            CONFIG, model=replace(CONFIG.model, encoder="gru", regressor="hmr", o_cnn="none")
        ),
        PAPER,
    ],
    ids=["fp32", "bf16", "ablation", "paper"],
)
def test_a_run_that_was_interrupted_ends_like_one_that_was_not(
    tmp_path: Path, config: TrainConfig
) -> None:
    list(trainer(tmp_path / "whole", config).run())

    def stop(step: int, _: float) -> None:
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(trainer(tmp_path / "parts", config).run(stop))
    torch.manual_seed(99)  # another process starts with other randomness
    second = trainer(tmp_path / "parts", config)
    assert second.resume()
    assert second.step == 2
    assert len(list(second.run())) == 1
    assert_same(checkpoint(tmp_path / "parts"), checkpoint(tmp_path / "whole"))
    assert log_rows(tmp_path / "parts") == log_rows(tmp_path / "whole")


def test_a_worker_changes_nothing(tmp_path: Path) -> None:
    for name, workers in (("alone", 0), ("helped", 1)):
        list(trainer(tmp_path / name, replace(CONFIG, steps=2), workers).run())
    assert_same(checkpoint(tmp_path / "helped"), checkpoint(tmp_path / "alone"))


def test_another_seed_gives_another_network(tmp_path: Path) -> None:
    for seed in (0, 1):
        list(trainer(tmp_path / str(seed), replace(CONFIG, steps=1, seed=seed)).run())
    first, second = (checkpoint(tmp_path / str(seed))["average"] for seed in (0, 1))
    assert not torch.equal(first["regressor.coarse.weight"], second["regressor.coarse.weight"])


def test_a_finished_run_has_nothing_left_to_do(tmp_path: Path) -> None:
    list(trainer(tmp_path).run())
    before = checkpoint(tmp_path)
    again = trainer(tmp_path, replace(CONFIG, steps=3))
    assert again.resume()
    assert list(again.run()) == []
    assert_same(checkpoint(tmp_path), before)


def test_a_longer_run_goes_on_and_says_that_it_is_another(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    list(trainer(tmp_path, replace(CONFIG, steps=2)).run())
    longer = trainer(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert longer.resume()
    assert "another steps than before" in caplog.text
    list(longer.run())
    assert checkpoint(tmp_path)["step"] == 4


def test_validations_come_when_they_should_with_a_checkpoint_each(tmp_path: Path) -> None:
    config = replace(CONFIG, steps=5)
    run = trainer(tmp_path, config)
    steps = []
    for validation in run.run():
        assert isinstance(validation, Validation)
        assert validation.pa_mpjpe_mm <= validation.mpjpe_mm
        assert checkpoint(tmp_path)["step"] == run.step
        steps.append(run.step)
    assert steps == [2, 4, 5]
    assert [row["step"] for row in log_rows(tmp_path)] == ["2", "4", "5"]


def test_training_learns(tmp_path: Path) -> None:
    config = replace(CONFIG, steps=24, validate_every=12, batch_size=4, learning_rate=3e-3)
    first, last = trainer(tmp_path, config).run()
    assert last.mpjpe_mm < first.mpjpe_mm


def test_validation_is_not_moved_by_training_noise(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    network = run.averaged_network()
    first = validate(network, run.data.held_out, run.body)
    torch.rand(3)
    assert validate(network, run.data.held_out, run.body) == first


def test_there_is_nothing_to_resume_in_an_empty_folder(tmp_path: Path) -> None:
    assert not trainer(tmp_path).resume()


def test_the_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    list(trainer(tmp_path, replace(CONFIG, steps=1)).run())
    other = replace(CONFIG, model=replace(CONFIG.model, encoder="gru"))
    with pytest.raises(ConfigError, match="another model"):
        trainer(tmp_path, other).resume()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04broken"])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / CHECKPOINT).write_bytes(content)
    with pytest.raises(WeightsError, match="is damaged"):
        trainer(tmp_path).resume()


def test_the_learning_rate_warms_up_stays_and_falls_to_zero() -> None:
    config = TrainConfig(steps=100, warmup_steps=10, cooldown=0.2, learning_rate=2.0)
    assert learning_rate(config, 0) == pytest.approx(0.2)
    assert learning_rate(config, 9) == learning_rate(config, 80) == pytest.approx(2.0)
    assert learning_rate(config, 90) == pytest.approx(1.0)
    assert learning_rate(config, 100) == 0
    rates = [learning_rate(config, step) for step in range(80, 101)]
    assert rates == sorted(rates, reverse=True)
