from dataclasses import replace
from pathlib import Path

import pytest

from dtsvibe_cli.errors import ConfigError
from dtsvibe_cli.models.config import LITE, PAPER
from dtsvibe_cli.training.config import TrainConfig
from dtsvibe_cli.training.recipes import RECIPES, read_config, refinement


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "run.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_lite_is_the_default() -> None:
    assert read_config("lite") == TrainConfig()
    assert TrainConfig().model == LITE
    assert TrainConfig().loss.form == "distance"
    assert TrainConfig().loss.adversarial == 0


def test_paper_is_section_3() -> None:
    paper = read_config("paper")
    assert paper.model == PAPER
    assert paper.model.window == 16
    assert (paper.learning_rate, paper.discriminator_learning_rate) == (5e-5, 5e-4)
    assert (paper.weight_decay, paper.cooldown) == (0, 0)  # plain Adam at one step size
    assert paper.loss.adversarial == 60


def test_what_the_file_leaves_out_is_as_in_lite(tmp_path: Path) -> None:
    config = read_config(
        written(
            tmp_path,
            'steps = 12\nlearning_rate = 1\nprecision = "fp32"\n'
            '[model]\nname = "mine"\nwindow = 8\n[loss]\njoints_3d = 5\n[mix]\nmotion = 1\n',
        )
    )
    model = replace(LITE, name="mine", window=8)
    loss = replace(TrainConfig().loss, joints_3d=5.0)
    assert config == TrainConfig(
        steps=12, learning_rate=1.0, precision="fp32", model=model, loss=loss, mix={"motion": 1.0}
    )


def test_a_file_can_start_from_the_paper(tmp_path: Path) -> None:
    config = read_config(written(tmp_path, 'recipe = "paper"\n[loss]\nadversarial = 0\n'))
    paper = RECIPES["paper"]
    assert config == replace(paper, loss=replace(paper.loss, adversarial=0.0))


def test_an_empty_file_is_the_lite_recipe(tmp_path: Path) -> None:
    assert read_config(written(tmp_path, "")) == TrainConfig()


@pytest.mark.parametrize("recipe", list(RECIPES))
def test_a_configuration_travels_as_plain_values(recipe: str) -> None:
    config = replace(RECIPES[recipe], steps=5, seed=3, mix={"motion": 0.5, "3dpw": 0.5})
    assert TrainConfig.from_dict(config.to_dict()) == config


def test_the_second_stage_has_the_flow_loss_and_no_discriminator() -> None:
    first = RECIPES["paper"]
    second = refinement(first)
    assert second.model == first.model
    assert second.learning_rate == 1e-5
    assert (second.loss.adversarial, second.loss.joints_3d) == (0, 300)
    assert second.loss.flow > 0
    assert second.steps == first.steps // 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps = ", "not valid TOML"),
        (b"\xff\xfe\x00", "not valid TOML"),
        ("stepps = 5", "stepps"),
        ('steps = "many"', "steps"),
        ('learning_rate = "small"', "'small'"),
        ('precision = "fp8"', "precision"),
        ("steps = 0", "steps = 0 must be at least 1"),
        ("batch_size = -1", "batch_size = -1"),
        ("discriminator_width = 0", "discriminator_width = 0"),
        ('[model]\nname = "x"\nencoder_heads = 3', "encoder_heads = 3"),
        ("[loss]\nform = 3", "form"),
        ('[mix]\nmotion = "half"', "'half'"),
        ('recipe = "papper"', "recipe = 'papper' must be one of lite, paper"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_config(written(tmp_path, text))


def test_neither_a_recipe_nor_a_file_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"papr is no recipe \(lite, paper\) and cannot be read"):
        read_config("papr")
