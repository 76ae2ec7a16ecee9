from pathlib import Path

import pytest

from dtsvibe_cli.errors import ConfigError
from dtsvibe_cli.models.config import LITE
from dtsvibe_cli.training.config import TrainConfig


def test_what_the_file_leaves_out_keeps_its_default(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(
        'steps = 12\nlearning_rate = 1\nprecision = "fp32"\n'
        '[model]\nname = "mine"\nwindow = 8\n[loss]\njoints_3d = 5\n'
    )
    config = TrainConfig.from_toml(path)
    assert (config.steps, config.learning_rate, config.precision) == (12, 1.0, "fp32")
    assert (config.model.name, config.model.window, config.model.d_model) == ("mine", 8, 512)
    assert (config.loss.joints_3d, config.loss.form) == (5.0, "squared")
    assert config.batch_size == TrainConfig().batch_size


def test_an_empty_file_is_the_lite_recipe(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("")
    assert TrainConfig.from_toml(path) == TrainConfig()
    assert TrainConfig().model == LITE
    assert TrainConfig().loss.form == "distance"


def test_a_configuration_travels_as_plain_values() -> None:
    config = TrainConfig(steps=5, seed=3)
    assert TrainConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps = ", "not valid TOML"),
        ("stepps = 5", "stepps"),
        ('steps = "many"', "steps"),
        ('precision = "fp8"', "precision"),
        ("steps = 0", "steps = 0 must be at least 1"),
        ("batch_size = -1", "batch_size = -1"),
        ('[model]\nname = "x"\nencoder_heads = 3', "encoder_heads = 3"),
        ("[model]\nwindow = 4", "name"),
        ("[loss]\nform = 3", "form"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        TrainConfig.from_toml(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        TrainConfig.from_toml(tmp_path / "none.toml")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not valid TOML"):
        TrainConfig.from_toml(path)
