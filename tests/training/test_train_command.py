from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from motion_files import Bvh, write_random_amc

from dtsvibe_cli.cli import main
from dtsvibe_cli.models.checkpoint import load_network
from dtsvibe_cli.training import validation
from dtsvibe_cli.training.checkpointing import CHECKPOINT
from dtsvibe_cli.training.logs import LOG
from dtsvibe_cli.weights import read_tensors

TINY_RUN = """
steps = 2
batch_size = 2
validate_every = 1
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


@pytest.fixture(autouse=True)
def _short_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "NUM_VALIDATION_BATCHES", 1)


@pytest.fixture
def motion(tmp_path: Path) -> Path:
    folder = tmp_path / "motion"
    write_random_amc(folder / "walks", "07_01", frames=40, seed=0)
    (folder / "test").mkdir()
    Bvh(frames=20).write(folder / "test" / "dance.bvh")
    return folder


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY_RUN)
    return path


def train(motion: Path, out: Path, *more: object) -> Result:
    args = ["train", "--motion", motion, "--out", out, "--workers", 0, "--device", "cpu", "-q"]
    return CliRunner().invoke(main, [str(arg) for arg in [*args, *more]])


def test_motion_files_become_a_network_that_can_be_loaded(
    motion: Path, config: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    result = train(motion, out, "--config", config)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out / 'network.safetensors'}\n"
    assert {CHECKPOINT, LOG, "curve.png", "motion.npz"} <= {path.name for path in out.iterdir()}
    network = load_network(out / "network.safetensors")
    assert network.config.name == "mine"
    about = read_tensors(out / "network.safetensors")[1]["about"]
    assert about["steps"] == 2
    assert about["config"]["batch_size"] == 2
    assert "mocap.cs.cmu.edu" in about["data"]


def test_a_run_is_not_overwritten_but_resumed(motion: Path, config: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert train(motion, out, "--config", config, "--steps", 1).exit_code == 0
    refused = train(motion, out, "--config", config)
    assert refused.exit_code == 1
    assert "holds a run: give --resume" in refused.stderr
    resumed = train(motion, out, "--config", config, "--resume")
    assert resumed.exit_code == 0, resumed.output
    steps = [line.split(",")[0] for line in (out / LOG).read_text().splitlines()]
    assert steps == ["step", "1", "2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stepps = 3", "stepps"),
        ('[model]\nname = "p"\nv_cnn = "resnet50"', "cannot train a network on images"),
    ],
)
def test_a_configuration_that_cannot_be_trained_is_one_sentence(
    motion: Path, tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    result = train(motion, tmp_path / "run", "--config", path)
    assert result.exit_code == 1
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_a_missing_motion_folder_is_one_sentence(tmp_path: Path, config: Path) -> None:
    result = train(tmp_path / "none", tmp_path / "run", "--config", config)
    assert result.exit_code == 1
    assert "no folder of motion files" in result.stderr
