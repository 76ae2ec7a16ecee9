import csv
import hashlib
import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from recorded import bank, body, simulator

from dtsvibe_cli.errors import ConfigError, WeightsError
from dtsvibe_cli.models.checkpoint import load_network, save_network
from dtsvibe_cli.models.config import TINY
from dtsvibe_cli.training import validation
from dtsvibe_cli.training.adversary import Adversary
from dtsvibe_cli.training.batches import BatchSource, TrainingBatch
from dtsvibe_cli.training.checkpointing import CHECKPOINT, weights_digest
from dtsvibe_cli.training.config import TrainConfig
from dtsvibe_cli.training.logs import BOARD, LOG, append_row
from dtsvibe_cli.training.losses import LossWeights, compute_losses, project_weak_perspective
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
        replace(CONFIG, model=replace(CONFIG.model, encoder="gru", regressor="hmr", o_cnn="none")),
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


def test_a_run_that_is_repeated_has_the_same_digests(tmp_path: Path) -> None:
    """Anybody can check that a second run gives the first one's weights."""
    for name in ("one", "two"):
        torch.manual_seed(hash(name) % 1000)
        list(trainer(tmp_path / name, PAPER).run())
    first, second = (
        [row["weights_sha256"] for row in log_rows(tmp_path / name)] for name in ("one", "two")
    )
    assert first == second
    assert len(set(first)) == 2
    average = checkpoint(tmp_path / "one")["average"]
    assert first[-1] == weights_digest(average)
    values = b"".join(average[name].numpy().tobytes() for name in sorted(average))
    assert first[-1] == hashlib.sha256(values).hexdigest()[:16]


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
    for errors in run.run():
        assert isinstance(errors, Validation)
        assert errors.pa_mpjpe_mm <= errors.mpjpe_mm
        assert checkpoint(tmp_path)["step"] == run.step
        steps.append(run.step)
    assert steps == [2, 4, 5]
    assert [row["step"] for row in log_rows(tmp_path)] == ["2", "4", "5"]


def test_training_learns(tmp_path: Path) -> None:
    config = replace(CONFIG, steps=24, validate_every=12, batch_size=4, learning_rate=3e-3)
    first, last = trainer(tmp_path, config).run()
    assert last.mpjpe_mm < first.mpjpe_mm


class Fixed:
    """The same windows at every step, all frames seen, with a camera that fits them exactly."""

    def __init__(self, windows: int) -> None:
        shape = {"window": CONFIG.model.window, "flow_side": CONFIG.model.flow_side}
        drawn = simulator(**shape).batch(windows, 0)
        camera = torch.tensor([0.9, 0.1, -0.2]).expand(windows, CONFIG.model.window, 3)
        self.windows = replace(drawn, joints_crop=project_weak_perspective(drawn.joints_m, camera))

    def batch(self, size: int, seed: int, *, vary: bool = True) -> TrainingBatch:
        return self.windows


def test_one_batch_can_be_learnt_by_heart_with_all_losses_of_the_paper(tmp_path: Path) -> None:
    config = replace(
        PAPER,
        model=replace(CONFIG.model, dropout=0.0, d_model=64, d_regressor=32),
        steps=120,
        batch_size=3,
        learning_rate=1e-2,
        discriminator_learning_rate=1e-3,
        warmup_steps=10,
        validate_every=120,
    )
    source = Fixed(3)
    run = trainer(tmp_path, config, source=source)

    def terms() -> dict[str, float]:
        batch = source.windows
        theta = run.network(batch.appearance, run.network.flow_features(batch.flow), batch.valid)
        return compute_losses(theta, batch, body(), config.loss).numbers()

    first = terms()
    list(run.run())
    last = terms()
    for term in ("mpjpe_mm", "joints_3d", "joints_2d", "smpl"):
        assert last[term] < 0.15 * first[term], (term, first, last)
    (row,) = log_rows(tmp_path)
    assert 0 < float(row["loss_adversarial"]) < 3
    assert 0 < float(row["loss_discriminator"]) < 1


def test_the_discriminator_learns_beside_the_network_and_moves_it(tmp_path: Path) -> None:
    for name, config in (("with", PAPER), ("without", replace(PAPER, loss=LossWeights()))):
        list(trainer(tmp_path / name, config).run())
    fought, alone = checkpoint(tmp_path / "with"), checkpoint(tmp_path / "without")
    assert "adversary" not in alone
    layer = "regressor.coarse.weight"
    assert not torch.equal(fought["average"][layer], alone["average"][layer])
    fresh = trainer(tmp_path / "fresh", PAPER).adversary
    assert fresh is not None
    for name, value in fresh.discriminator.state_dict().items():
        assert not torch.equal(value, fought["adversary"]["network"][name]), name
    terms = log_rows(tmp_path / "with")[-1]
    assert float(terms["loss_adversarial"]) > 0
    assert float(terms["loss_discriminator"]) > 0


def test_the_networks_loss_leaves_the_discriminator_alone() -> None:
    judge = Adversary(8, 1e-3, seed=0, device="cpu")
    poses = torch.eye(3).expand(2, 4, 23, 3, 3).clone().requires_grad_()
    judge.doubt(poses, torch.ones(2, 4, dtype=torch.bool)).backward()
    assert poses.grad is not None
    assert poses.grad.any()
    assert all(p.grad is None and p.requires_grad for p in judge.discriminator.parameters())


def test_a_discriminator_without_recorded_motion_is_refused(tmp_path: Path) -> None:
    data = trainer(tmp_path).data
    with pytest.raises(ConfigError, match="needs recorded motion: give --motion"):
        Trainer(PAPER, tmp_path, replace(data, recorded=None), body=body())


def test_half_precision_needs_a_gpu(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fp16' needs --device cuda"):
        trainer(tmp_path, replace(CONFIG, precision="fp16"))


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_gpu_trains_and_takes_up_a_run_again(tmp_path: Path, precision: Any) -> None:
    config = replace(PAPER, precision=precision)
    data = trainer(tmp_path).data

    def on_gpu(steps: int) -> Trainer:
        return Trainer(
            replace(config, steps=steps), tmp_path, data, body=body(), device="cuda", workers=0
        )

    (first,) = on_gpu(2).run()
    second = on_gpu(4)
    assert second.resume()
    assert second.step == 2
    (last,) = second.run()
    assert last.mpjpe_mm != first.mpjpe_mm
    assert second.scaler.is_enabled() == (precision == "fp16")


@pytest.mark.parametrize("window", [8, 16, 32, 64, 128])
def test_windows_of_any_length_can_be_trained(tmp_path: Path, window: int) -> None:
    """And the weights file says how long they are."""
    config = replace(PAPER, model=replace(CONFIG.model, window=window), steps=1, batch_size=2)
    run = trainer(tmp_path, config)
    before = run.network.encoder.position.detach().clone()
    list(run.run())
    moved = (run.network.encoder.position - before).abs().amax(1)
    assert len(moved) == window
    assert float((moved > 0).float().mean()) > 0.5  # frames that nobody saw teach nothing
    (file,) = save_network(run.averaged_network(), tmp_path / "network.safetensors", {})
    assert load_network(file).window == window


def test_curves_for_tensorboard(tmp_path: Path) -> None:
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="needs tensorboard"
    )
    list(trainer(tmp_path, replace(PAPER, steps=40, validate_every=20)).run())
    events = accumulator.EventAccumulator(str(tmp_path / BOARD))
    events.Reload()
    assert {f"train/{term}" for term in ("joints_3d", "adversarial", "discriminator")} <= set(
        events.Tags()["scalars"]
    )
    points = events.Scalars("held_out/mpjpe_mm")
    assert [point.step for point in points] == [20, 40]
    logged = [float(row["val_mpjpe_mm"]) for row in log_rows(tmp_path)]
    assert [point.value for point in points] == pytest.approx(logged, abs=0.01)


def test_without_tensorboard_a_run_says_so_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", None)
    with caplog.at_level(logging.INFO, logger="dtsvibe_cli"):
        assert len(list(trainer(tmp_path, replace(CONFIG, steps=1)).run())) == 1
    assert "Nothing is written for TensorBoard" in caplog.text
    assert not (tmp_path / BOARD).exists()


def test_the_log_of_an_older_run_keeps_its_columns(tmp_path: Path) -> None:
    path = tmp_path / LOG
    path.write_text("step,val_mpjpe_mm\n1,50.0\n")
    append_row(path, {"step": "2", "val_mpjpe_mm": "40.0", "weights_sha256": "abc"})
    assert path.read_text().splitlines() == ["step,val_mpjpe_mm", "1,50.0", "2,40.0"]


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
