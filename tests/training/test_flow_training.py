from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from dtsvibe_cli.cli import main
from dtsvibe_cli.errors import ConfigError
from dtsvibe_cli.stages.flow import make_flow
from dtsvibe_cli.stages.raft_flow import RaftFlow
from dtsvibe_cli.training import flow_training
from dtsvibe_cli.training.flow_pairs import FlowPair
from dtsvibe_cli.training.flow_training import (
    CHECKPOINT,
    LOG,
    WEIGHTS,
    FlowTrainConfig,
    end_point_error_px,
    flow_batch,
    sequence_loss,
    train_flow,
)

TINY = FlowTrainConfig(
    steps=2, batch_size=1, num_pairs=3, updates=1, validate_every=1, num_validation_pairs=1
)


@pytest.fixture
def gradient_pair(monkeypatch: pytest.MonkeyPatch) -> FlowPair:
    """One pair instead of drawn ones: a picture in which place can be read from colour."""
    y, x = np.mgrid[:128, :128]
    now = np.stack([x, y, 0 * x], -1).astype(np.uint8)
    flow = np.stack([np.full((128, 128), 2.0), np.full((128, 128), -1.0)])
    before = np.stack([x + 2, y - 1, 0 * x], -1).clip(0, 255).astype(np.uint8)
    pair = FlowPair(before=before, now=now, flow_px=flow, person=x > 64)
    monkeypatch.setattr(flow_training, "_pair", lambda seed: pair)
    return pair


def test_mirror_images_carry_their_flow_along(gradient_pair: FlowPair) -> None:
    """A colour of ``now`` lies in ``before`` where the flow back leads, in every mirror image."""
    seen = set()
    for step in range(40):
        batch = flow_batch(TINY, step)
        back = batch.back_px[0]
        assert (back == back[:, :1, :1]).all()
        dx, dy = (int(v) for v in back[:, 0, 0])
        seen.add((dx, dy))
        inner = batch.now[0, :, 8:-8, 8:-8]
        there = batch.before[0, :, 8 + dy : 120 + dy, 8 + dx : 120 + dx]
        torch.testing.assert_close(inner, there)
    assert seen == {(sx * a, sy * b) for a, b in ((2, 1), (1, 2)) for sx in (-1, 1)
                    for sy in (-1, 1)}  # fmt: skip


def test_batches_are_functions_of_the_step(gradient_pair: FlowPair) -> None:
    first, again = flow_batch(TINY, 5), flow_batch(TINY, 5)
    torch.testing.assert_close(first.now, again.now)
    assert first.now.shape == (1, 3, 128, 128)
    assert first.now.min() >= -1


def test_later_estimates_count_more() -> None:
    truth = torch.zeros(1, 2, 4, 4)
    right, wrong = truth, truth + 1
    assert float(sequence_loss([wrong, right], truth)) == pytest.approx(0.8)
    assert float(sequence_loss([right, wrong], truth)) == pytest.approx(1.0)


def test_end_point_error_by_hand(gradient_pair: FlowPair) -> None:
    def still(before: np.ndarray, now: np.ndarray) -> np.ndarray:
        return np.zeros((1, 2, 128, 128), np.float32)

    assert end_point_error_px(still, [gradient_pair]) == pytest.approx(5**0.5)


def test_a_run_gives_weights_that_the_pipeline_takes_and_resumes_exactly(
    gradient_pair: FlowPair, tmp_path: Path
) -> None:
    whole = train_flow(tmp_path / "whole", config=TINY, device="cpu")
    assert whole == tmp_path / "whole" / WEIGHTS
    assert {path.name for path in whole.parent.iterdir()} == {CHECKPOINT, LOG, WEIGHTS}
    assert isinstance(make_flow(str(whole)), RaftFlow)
    with pytest.raises(ConfigError, match="holds a run: give --resume"):
        train_flow(tmp_path / "whole", config=TINY, device="cpu")

    part = tmp_path / "part"
    with pytest.raises(InterruptedError):
        train_flow(part, config=TINY, device="cpu", on_progress=_stop_in_the_second_step)
    resumed = train_flow(part, config=TINY, device="cpu", resume=True)
    one, other = (torch.load(path, weights_only=True) for path in (whole, resumed))
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=0, atol=0)
    assert (part / LOG).read_text().count("\n") == 3


def _stop_in_the_second_step(stage: str, done: int, total: int | None) -> None:
    if done == 2:
        raise InterruptedError


def test_another_recipe_does_not_resume(gradient_pair: FlowPair, tmp_path: Path) -> None:
    one_step = FlowTrainConfig(
        steps=1, batch_size=1, updates=1, validate_every=1, num_validation_pairs=1
    )
    train_flow(tmp_path, config=one_step, device="cpu")
    with pytest.raises(ConfigError, match="of another recipe"):
        train_flow(tmp_path, config=TINY, device="cpu", resume=True)
    with pytest.raises(ConfigError, match="batch_size = 0 must be at least 1"):
        FlowTrainConfig(batch_size=0)


def test_the_command_prints_the_weights(
    gradient_pair: FlowPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = partial(FlowTrainConfig, num_validation_pairs=1, updates=1)
    monkeypatch.setattr(flow_training, "FlowTrainConfig", quick)
    args = ["train-flow", "--out", tmp_path / "run", "--steps", 1, "--batch-size", 1]
    result = CliRunner().invoke(main, [str(arg) for arg in [*args, "--device", "cpu", "-q"]])
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{tmp_path / 'run' / WEIGHTS}\n"
