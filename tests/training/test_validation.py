import math
from dataclasses import replace

import pytest
import torch
from recorded import body, simulator
from torch import Tensor

from dtsvibe_cli.evaluation.metrics import acceleration_error, mpjpe, pa_mpjpe
from dtsvibe_cli.models.config import TINY
from dtsvibe_cli.models.dts_vibe import DtsVibe, build
from dtsvibe_cli.training import validation
from dtsvibe_cli.training.batches import BatchSource, TrainingBatch
from dtsvibe_cli.training.losses import predicted_joints
from dtsvibe_cli.training.validation import validate

MODEL = replace(TINY, window=5, flow_side=8)


class Changed:
    """Simulated windows, of which a function makes others."""

    def __init__(self, **changes: Tensor) -> None:
        self.changes = changes

    def batch(self, size: int, seed: int, *, vary: bool = True) -> TrainingBatch:
        drawn = simulator(window=5, flow_side=8).batch(6, 3, vary=vary)
        return replace(drawn, **self.changes)


@pytest.fixture(autouse=True)
def _one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "NUM_VALIDATION_BATCHES", 1)
    monkeypatch.setattr(validation, "WINDOWS_AT_ONCE", 4)


@pytest.fixture(scope="module")
def network() -> DtsVibe:
    return build(MODEL).eval()


def predicted(network: DtsVibe, batch: TrainingBatch) -> Tensor:
    with torch.inference_mode():
        features = network.flow_features(batch.flow)
        return predicted_joints(network(batch.appearance, features, batch.valid), body())


def test_with_all_labels_it_is_the_fields_measures(network: DtsVibe) -> None:
    source = Changed()
    assert isinstance(source, BatchSource)
    batch = source.batch(6, 0, vary=False)
    joints = predicted(network, batch)
    errors = validate(network, source, body())
    seen = batch.valid
    position = 1000 * float(mpjpe(joints, batch.joints_m)[seen].mean())
    aligned = 1000 * float(pa_mpjpe(joints, batch.joints_m)[seen].mean())
    acceleration = 1000 * float(acceleration_error(joints, batch.joints_m).mean())
    assert errors.mpjpe_mm == pytest.approx(position, rel=1e-4)
    assert errors.pa_mpjpe_mm == pytest.approx(aligned, rel=1e-4)
    assert errors.accel_mm == pytest.approx(acceleration, rel=1e-4)


def test_joints_without_a_label_do_not_count(network: DtsVibe) -> None:
    """Some frames have 14 joints, the others none: alignment is by those fourteen."""
    weight = torch.zeros(6, 5, 24)
    weight[:4, :, 8:22] = 1
    junk = torch.full((6, 5, 24, 3), 7.0)
    batch = Changed().batch(6, 0, vary=False)
    labels = torch.where(weight[..., None] > 0, batch.joints_m, junk)
    source = Changed(joints_m=labels, joints_m_weight=weight)
    joints, truth = (x[:4, :, 8:22] for x in (predicted(network, batch), batch.joints_m))
    errors = validate(network, source, body())
    seen = batch.valid[:4]
    assert errors.mpjpe_mm == pytest.approx(1000 * float(mpjpe(joints, truth)[seen].mean()), 1e-4)
    aligned = 1000 * float(pa_mpjpe(joints, truth)[seen].mean())
    assert errors.pa_mpjpe_mm == pytest.approx(aligned, rel=1e-4)
    acceleration = 1000 * float(acceleration_error(joints, truth).mean())
    assert errors.accel_mm == pytest.approx(acceleration, rel=1e-4)


def test_without_any_3d_label_there_is_no_number(network: DtsVibe) -> None:
    errors = validate(network, Changed(joints_m_weight=torch.zeros(6, 5, 24)), body())
    assert all(math.isnan(x) for x in (errors.mpjpe_mm, errors.pa_mpjpe_mm, errors.accel_mm))
