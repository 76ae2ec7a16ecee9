import csv
import re
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from motion_files import Bvh, write_random_amc
from sequence_examples import random_sequence

from dtsvibe_cli.cli import main
from dtsvibe_cli.models.backbone import ResNet50Backbone
from dtsvibe_cli.models.checkpoint import load_network
from dtsvibe_cli.training import validation
from dtsvibe_cli.training.checkpointing import CHECKPOINT
from dtsvibe_cli.training.logs import LOG
from dtsvibe_cli.training.run_data import split_sequences
from dtsvibe_cli.training.sequences import sequence_files, write_sequence
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

PAPER_MODEL = """
o_cnn = "small"
v_cnn = "blazepose"
"""
"""The rest of a model that a test can train."""


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


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three prepared sequences of a data set ``made_up``."""
    folder = tmp_path / "prepared"
    for k in range(3):
        write_sequence(folder, random_sequence(20, name=f"person{k}", seed=k))
    return folder


def run(out: Path, *more: object) -> Result:
    args = ["train", "--out", out, "--workers", 0, "--device", "cpu", "-q", *more]
    return CliRunner().invoke(main, [str(arg) for arg in args])


def train(motion: Path, out: Path, *more: object) -> Result:
    return run(out, "--motion", motion, *more)


def rows(out: Path) -> list[dict[str, str]]:
    with (out / LOG).open() as file:
        return list(csv.DictReader(file))


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


def test_a_run_again_gives_the_same_file(motion: Path, config: Path, tmp_path: Path) -> None:
    """Byte for byte: a checksum is enough to see that somebody's weights come from a command."""
    first, second = tmp_path / "first", tmp_path / "second"
    for out in (first, second):
        assert train(motion, out, "--config", config).exit_code == 0
    network = "network.safetensors"
    assert (first / network).read_bytes() == (second / network).read_bytes()


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
        ("[mix]\n3dpw = 1", "The mix names 3dpw, but there is motion"),
        (
            '[model]\nname = "p"\nv_cnn = "resnet50"',
            "cannot be trained on motion alone: give --data",
        ),
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


def test_nothing_to_train_on_is_one_sentence(tmp_path: Path) -> None:
    result = run(tmp_path / "run")
    assert result.exit_code == 1
    assert "give --motion DIR, --data DIR, or both" in result.stderr


def test_both_stages_of_the_paper_from_scratch(motion: Path, tmp_path: Path) -> None:
    """With the discriminator, then with the flow loss from where the first stage ended."""
    config = tmp_path / "paper.toml"
    config.write_text('recipe = "paper"\ndiscriminator_width = 8\n' + TINY_RUN + PAPER_MODEL)
    first, second = tmp_path / "first", tmp_path / "second"
    assert train(motion, first, "--config", config).exit_code == 0
    result = train(motion, second, "--refine", first, "--steps", 1)
    assert result.exit_code == 0, result.output
    assert float(rows(first)[-1]["loss_adversarial"]) > 0
    assert float(rows(first)[-1]["loss_flow"]) == 0
    assert float(rows(second)[-1]["loss_adversarial"]) == 0
    assert float(rows(second)[-1]["loss_flow"]) > 0
    about = read_tensors(second / "network.safetensors")[1]["about"]
    assert about["config"]["learning_rate"] == 1e-5
    before, after = (
        torch.load(folder / CHECKPOINT, weights_only=True)["average"] for folder in (first, second)
    )
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, atol=1e-4, rtol=0)
    assert rows(second)[-1]["weights_sha256"] != rows(first)[-1]["weights_sha256"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--window", 32), "cannot go on with 32: leave --window out"),
        (("--config", "lite"), "take \\[model\\] out of --config"),
    ],
)
def test_a_refinement_cannot_change_the_network(
    motion: Path, config: Path, tmp_path: Path, more: tuple[object, ...], message: str
) -> None:
    assert train(motion, tmp_path / "first", "--config", config, "--steps", 1).exit_code == 0
    result = train(motion, tmp_path / "second", "--refine", tmp_path / "first", *more)
    assert result.exit_code == 1
    assert re.search(message, result.stderr), result.stderr


def test_a_refinement_needs_a_run(motion: Path, tmp_path: Path) -> None:
    result = train(motion, tmp_path / "second", "--refine", motion)
    assert result.exit_code == 1
    assert "holds no run" in result.stderr


def test_a_run_is_resumed_with_its_own_configuration(
    motion: Path, config: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    assert train(motion, out, "--config", config, "--steps", 1).exit_code == 0
    resumed = train(motion, out, "--resume", "--steps", 2)
    assert resumed.exit_code == 0, resumed.output
    assert load_network(out / "network.safetensors").config.name == "mine"


def test_there_must_be_a_run_to_resume(motion: Path, config: Path, tmp_path: Path) -> None:
    """Else a slip in --out would train from the start."""
    refused = train(motion, tmp_path / "rnu", "--config", config, "--resume")
    assert refused.exit_code == 1
    assert "holds no run to go on with" in refused.stderr
    assert not (tmp_path / "rnu").exists()


def test_the_length_of_windows_is_an_option(motion: Path, config: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert train(motion, out, "--config", config, "--steps", 1, "--window", 8).exit_code == 0
    assert load_network(out / "network.safetensors").window == 8


def test_motion_and_prepared_sequences_can_be_mixed(
    motion: Path, data: Path, tmp_path: Path
) -> None:
    config = tmp_path / "mixed.toml"
    config.write_text(TINY_RUN + "[mix]\nmotion = 1\nmade_up = 1\n")
    out = tmp_path / "run"
    result = train(motion, out, "--data", data, "--config", config)
    assert result.exit_code == 0, result.output
    said = read_tensors(out / "network.safetensors")[1]["about"]["data"]
    assert "mocap.cs.cmu.edu" in said
    assert "Prepared sequences of made_up." in said


def test_prepared_sequences_alone_will_do(data: Path, config: Path, tmp_path: Path) -> None:
    result = run(tmp_path / "run", "--data", data, "--config", config)
    assert result.exit_code == 0, result.output
    assert float(rows(tmp_path / "run")[-1]["val_pa_mpjpe_mm"]) > 0


def test_features_of_pictures_are_trained_on(motion: Path, tmp_path: Path) -> None:
    """The paper's V-CNN: its convolutions stay as the file has them, the layer after is trained."""
    data = tmp_path / "prepared"
    for k in range(2):
        sequence = random_sequence(20, name=f"person{k}", seed=k, appearance=2048)
        write_sequence(data, sequence)
    state = ResNet50Backbone(8).cnn.state_dict()
    state["layer4.2.conv3.weight"] = torch.full_like(state["layer4.2.conv3.weight"], 0.125)
    torch.save({"model": state}, tmp_path / "spin.pt")
    config = tmp_path / "paper.toml"
    config.write_text(
        'recipe = "paper"\ndiscriminator_width = 8\n' + TINY_RUN + 'o_cnn = "small"\n'
    )
    out, network = tmp_path / "run", ["--image-network", tmp_path / "spin.pt"]
    result = train(motion, out, "--data", data, "--config", config, *network)
    assert result.exit_code == 0, result.output
    trained = load_network(out / "network.safetensors")
    convolution = trained.v_cnn.cnn.layer4[2].conv3.weight
    torch.testing.assert_close(convolution, torch.full_like(convolution, 0.125), atol=1e-3, rtol=0)


def test_data_prepared_for_another_network_is_one_sentence(data: Path, tmp_path: Path) -> None:
    result = run(tmp_path / "run", "--data", data)
    assert result.exit_code == 1
    assert "holds flow of 8 cells, but lite takes 32" in result.stderr
    result = run(tmp_path / "run", "--data", data, "--config", "paper")
    assert result.exit_code == 1
    assert "appearance of landmarks, but paper takes that of pictures" in result.stderr


def test_one_sequence_cannot_be_held_out_and_trained_on(tmp_path: Path, config: Path) -> None:
    write_sequence(tmp_path / "prepared", random_sequence(20))
    result = run(tmp_path / "run", "--data", tmp_path / "prepared", "--config", config)
    assert result.exit_code == 1
    assert "made_up needs at least two sequences" in result.stderr


def test_sequences_in_a_folder_named_validation_are_held_out(tmp_path: Path) -> None:
    for k in range(4):
        part = "train" if k < 3 else "validation"
        write_sequence(tmp_path / part, random_sequence(20, name=f"person{k}"))
    files = [(path, "validation" in path.parts) for path in sequence_files(tmp_path)]
    own, held_out = split_sequences("made_up", files)
    assert [path.stem for path in own] == ["person0", "person1", "person2"]
    assert [path.stem for path in held_out] == ["person3"]
