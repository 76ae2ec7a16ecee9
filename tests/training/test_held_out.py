import json
from pathlib import Path

import numpy as np
import pytest
import torch
from motion_files import write_random_amc
from recorded import body, clip

from dtsvibe_cli.errors import ConfigError, DataError
from dtsvibe_cli.models.checkpoint import save_network
from dtsvibe_cli.models.config import ModelConfig
from dtsvibe_cli.models.dts_vibe import DtsVibe, Theta, build
from dtsvibe_cli.training import held_out
from dtsvibe_cli.training.held_out import clip_errors, evaluate_motion
from dtsvibe_cli.training.simulation import Simulator

TINY = ModelConfig(
    name="tiny",
    window=8,
    flow_side=8,
    d_model=16,
    encoder_layers=1,
    encoder_heads=2,
    encoder_feedforward=16,
    regressor_layers=1,
    d_regressor=8,
)


@pytest.fixture(autouse=True)
def _few_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_out, "MIN_WINDOWS", 6)
    monkeypatch.setattr(held_out, "TIMES_COVERED", 1)
    monkeypatch.setattr(held_out, "BATCH", 4)


@pytest.fixture
def motion(tmp_path: Path) -> Path:
    folder = tmp_path / "motion"
    write_random_amc(folder / "train", "07_01", frames=40, seed=0)
    write_random_amc(folder / "test", "waving_1", frames=40, seed=1)
    write_random_amc(folder / "test", "03_03", frames=60, seed=2)
    return folder


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return save_network(build(TINY), tmp_path / "tiny.safetensors", {})[0]


class _Oracle(DtsVibe):
    """Answers with the truth of the batch that was simulated last."""

    answer: Theta

    def forward(self, *_: object) -> Theta:
        return self.answer


@pytest.fixture
def oracle(monkeypatch: pytest.MonkeyPatch) -> _Oracle:
    network = _Oracle(TINY)
    batch_of = Simulator.batch

    def noted(self: Simulator, size: int, seed: int, *, vary: bool = True) -> object:
        batch = batch_of(self, size, seed, vary=vary)
        betas = batch.betas[:, None].expand(-1, TINY.window, -1)
        network.answer = Theta(
            full_pose=batch.full_pose, betas=betas, camera=torch.zeros(size, TINY.window, 3)
        )
        return batch

    monkeypatch.setattr(Simulator, "batch", noted)
    return network


def test_the_truth_itself_has_no_error(oracle: _Oracle) -> None:
    errors = clip_errors(clip("walking_1"), oracle, body())
    assert errors.found.any()
    assert np.nanmax(errors.measures.mpjpe_mm) < 1e-2
    assert np.nanmax(errors.measures.accel_mm) < 1e-2
    assert set(errors.actions) == {"walking"}


def test_second_differences_stay_inside_windows(oracle: _Oracle) -> None:
    accel = clip_errors(clip(), oracle, body()).measures.accel_mm.reshape(-1, TINY.window)
    assert np.isnan(accel[:, [0, -1]]).all()
    assert np.isfinite(accel[:, 1:-1]).any()


def test_windows_depend_on_the_clip_and_the_seed_alone() -> None:
    network = build(TINY)
    first, again = (clip_errors(clip("a"), network, body()) for _ in range(2))
    np.testing.assert_array_equal(first.measures.mpjpe_mm, again.measures.mpjpe_mm)
    other = clip_errors(clip("a"), network, body(), seed=1)
    assert not np.array_equal(first.yaw_deg, other.yaw_deg)


def test_held_out_clips_alone_are_measured(motion: Path, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores"
    evaluation = evaluate_motion(motion, weights=weights, out=out, device="cpu")
    tables = {table.key: table for table in evaluation.tables}
    assert sorted(row[0] for row in tables["by_sequence"].rows) == ["03_03", "waving_1"]
    actions = [row[0] for row in tables["by_action"].rows]
    assert actions == ["walk on uneven terrain", "waving"]
    assert len(tables["by_view"].rows) > 1
    written = json.loads((out / "evaluation.json").read_text())
    assert len(written["made_with"]["results"][0]["weights"]["sha256"]) == 1
    assert "network alone" in (out / "evaluation.md").read_text()
    with pytest.raises(ConfigError, match="--overwrite"):
        evaluate_motion(motion, weights=weights, out=out)


def test_motion_that_is_all_for_training_is_one_sentence(tmp_path: Path, weights: Path) -> None:
    write_random_amc(tmp_path / "motion", "07_01", frames=20, seed=0)
    with pytest.raises(DataError, match="No motion is held out"):
        evaluate_motion(tmp_path / "motion", weights=weights, device="cpu")
    with pytest.raises(DataError, match="no folder of motion files"):
        evaluate_motion(tmp_path / "nowhere", weights=weights, device="cpu")


def test_a_network_that_looks_at_pictures_is_refused(
    motion: Path, monkeypatch: pytest.MonkeyPatch, weights: Path
) -> None:
    monkeypatch.setattr(DtsVibe, "picture_cnn", object())
    with pytest.raises(DataError, match="looks at pictures"):
        evaluate_motion(motion, weights=weights, device="cpu")
