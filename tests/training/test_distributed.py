"""Two processes on the CPU, as torchrun starts them."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from motion_files import Bvh, write_random_amc
from recorded import bank, body, simulator
from two_processes import CONFIG, SHAPE

from dtsvibe_cli.training import distributed, sources, validation
from dtsvibe_cli.training.batches import TrainingBatch, concatenate
from dtsvibe_cli.training.trainer import Trainer, TrainingData

REPOSITORY = Path(__file__).parents[2]


def torchrun(*args: object) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, *map(str, args)],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    out = tmp_path_factory.mktemp("two")
    torchrun(Path(__file__).with_name("two_processes.py"), out)
    return out, [torch.load(out / f"rank{k}.pt", weights_only=True) for k in range(2)]


def test_both_processes_have_the_same_weights(
    ranks: tuple[Path, list[dict[str, Any]]],
) -> None:
    first, second = ranks[1]
    assert first["processes"] == second["processes"] == 2
    for part in ("network", "discriminator"):
        for name, value in first[part].items():
            assert torch.equal(value, second[part][name]), name


def test_only_the_first_validates_and_writes(ranks: tuple[Path, list[dict[str, Any]]]) -> None:
    out, (first, second) = ranks
    assert (first["validations"], second["validations"]) == (2, 0)
    assert len((out / "run" / "log.csv").read_text().splitlines()) == 3


class Together:
    """One process that draws what two would draw."""

    def __init__(self) -> None:
        self.simulator = simulator(**SHAPE)

    def batch(self, size: int, seed: int, *, vary: bool = True) -> TrainingBatch:
        parts = [self.simulator.batch(size // 2, seed + k * sources._PROCESS) for k in range(2)]
        return concatenate(parts)


def test_gradients_are_those_of_both_batches_together(
    ranks: tuple[Path, list[dict[str, Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validation, "NUM_VALIDATION_BATCHES", 1)
    recorded_poses = sources.recorded_poses

    def of_both(bank: Any, size: int, window: int, seed: int) -> torch.Tensor:
        seeds = (seed, seed + sources._PROCESS)
        return torch.cat([recorded_poses(bank, size // 2, window, each) for each in seeds])

    monkeypatch.setattr(sources, "recorded_poses", of_both)
    data = TrainingData(train=Together(), held_out=simulator(**SHAPE), recorded=bank())
    one = Trainer(replace(CONFIG, batch_size=4), tmp_path, data, body=body(), workers=0)
    list(one.run())
    assert one.adversary is not None
    own = {"network": one.network, "discriminator": one.adversary.discriminator}
    for part, module in own.items():
        for name, value in module.state_dict().items():
            both = ranks[1][0][part][name]
            torch.testing.assert_close(value, both, atol=2e-4, rtol=0, msg=name)


@pytest.mark.slow
def test_torchrun_starts_the_command(tmp_path: Path) -> None:
    write_random_amc(tmp_path / "motion" / "walks", "07_01", frames=40, seed=0)
    (tmp_path / "motion" / "test").mkdir()
    Bvh(frames=20).write(tmp_path / "motion" / "test" / "dance.bvh")
    config = tmp_path / "tiny.toml"
    config.write_text(
        "steps = 1\nbatch_size = 2\n[model]\nwindow = 4\nflow_side = 8\nd_model = 16\n"
        "encoder_layers = 1\nencoder_heads = 2\nregressor_layers = 1\nd_regressor = 8\n"
    )
    out = tmp_path / "run"
    files = ("--motion", tmp_path / "motion", "--config", config, "--out", out)
    torchrun("-m", "dtsvibe_cli", "train", *files, "--device", "cpu", "--workers", 0, "-q")
    assert (out / "network.safetensors").is_file()
    assert len((out / "log.csv").read_text().splitlines()) == 2


def test_one_process_is_the_first_and_alone() -> None:
    with distributed.process_group("cpu") as device:
        assert device == "cpu"
        assert distributed.is_first()
        assert distributed.num_processes() == 1
        module = torch.nn.Linear(1, 1)
        assert distributed.parallel(module) is module
