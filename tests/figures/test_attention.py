from dataclasses import replace
from pathlib import Path

import made_results
import numpy as np
import pytest
import torch
from PIL import Image
from synthetic import random_rotations
from torch import nn

from dtsvibe_cli.errors import ConfigError, DataError
from dtsvibe_cli.figures import attention
from dtsvibe_cli.figures.attention import (
    AttentionRecorder,
    attention_of_motion,
    attention_of_videos,
    attention_weights,
    draw_attention,
)
from dtsvibe_cli.models.backbone import LANDMARK_FEATURES
from dtsvibe_cli.models.checkpoint import save_network
from dtsvibe_cli.models.config import TINY
from dtsvibe_cli.models.dts_vibe import DtsVibe, build
from dtsvibe_cli.training.motion_bank import Clip, MotionBank

HEADS, TIME = TINY.encoder_heads, TINY.window


@pytest.fixture(scope="module")
def network() -> DtsVibe:
    return build(TINY).eval()


@pytest.fixture
def bank(monkeypatch: pytest.MonkeyPatch) -> MotionBank:
    """Made-up motion in place of files."""
    clip = Clip(
        name="a",
        held_out=False,
        rotmats=random_rotations(60, 24).float(),
        transl_m=torch.zeros(60, 3),
    )
    bank = MotionBank(clips=(clip,))
    monkeypatch.setattr(attention, "load_bank", lambda folder, joints: bank)
    return bank


def appearance(windows: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(windows, TIME, LANDMARK_FEATURES, generator=generator)


@pytest.mark.parametrize("norm_first", [True, False])
def test_weights_are_those_of_multi_head_attention(norm_first: bool) -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(32, 4, 16, batch_first=True, norm_first=norm_first).eval()
    nn.init.normal_(layer.self_attn.in_proj_bias)
    tokens = torch.randn(3, 7, 32)
    valid = torch.ones(3, 7, dtype=torch.bool)
    valid[1, 4:] = False
    seen = layer.norm1(tokens) if norm_first else tokens
    _, expected = layer.self_attn(
        seen, seen, seen, key_padding_mask=~valid, need_weights=True, average_attn_weights=False
    )
    weights = attention_weights(layer, tokens, valid)
    assert weights.shape == (3, 4, 7, 7)
    torch.testing.assert_close(weights, expected)
    assert not weights[1, ..., 4:].any()


def test_the_recorder_answers_as_the_network_and_keeps_whole_windows(network: DtsVibe) -> None:
    windows = appearance(3)
    valid = torch.ones(3, TIME, dtype=torch.bool)
    valid[1, -2:] = False
    recorder = AttentionRecorder(network)
    with torch.inference_mode():
        theta = recorder(windows, None, valid)
        expected = network(windows, None, valid)
    torch.testing.assert_close(theta.full_pose, expected.full_pose)
    assert recorder.num_windows == 2
    maps = recorder.mean()
    assert maps.mean.shape == (HEADS, TIME, TIME)
    np.testing.assert_allclose(maps.mean.sum(-1), 1, atol=1e-5)


def test_what_is_recorded_is_what_the_first_layer_does(network: DtsVibe) -> None:
    """Its attention block, put together again from the weights, is the layer's own."""
    layer = network.encoder.layers.layers[0]
    windows, valid = appearance(2), torch.ones(2, TIME, dtype=torch.bool)
    recorder = AttentionRecorder(network)
    with torch.inference_mode():
        recorder(windows, None, valid)
        tokens = network.v_cnn(windows) + network.encoder.position
        seen = layer.norm1(tokens)
        block = layer.self_attn
        _, _, values = nn.functional.linear(seen, block.in_proj_weight, block.in_proj_bias).chunk(
            3, -1
        )
        values = values.unflatten(-1, (HEADS, -1))
        mixed = torch.einsum("whij,wjhc->wihc", torch.from_numpy(recorder.maps[0]), values)
        expected = block(seen, seen, seen, need_weights=False)[0]
    torch.testing.assert_close(block.out_proj(mixed.flatten(-2)), expected, atol=1e-5, rtol=1e-4)


def test_at_most_so_many_windows_evenly_chosen(network: DtsVibe) -> None:
    recorder = AttentionRecorder(network)
    with pytest.raises(DataError, match="Nobody is seen for 16 frames on end"):
        recorder.mean()
    recorder.maps = [np.full((10, 1, 2, 2), float(k)) for k in range(5)]
    assert recorder.mean(2).num_windows == 2
    assert recorder.mean(2).mean[0, 0, 0] == 2  # the first and the last
    assert recorder.mean(1000).num_windows == 50


def test_a_gru_has_nothing_to_draw() -> None:
    with pytest.raises(ConfigError, match="is a GRU, which has no attention"):
        AttentionRecorder(build(replace(TINY, encoder="gru")))


def test_every_frame_of_a_results_stretch_starts_a_window(network: DtsVibe, tmp_path: Path) -> None:
    result = made_results.save(made_results.made_motion(first=60, last=79), tmp_path)
    maps = attention_of_videos(network, [result])
    assert maps.num_windows == 20 - TIME + 1


def test_motion_capture_gives_as_many_windows_as_asked_for(
    network: DtsVibe, bank: MotionBank
) -> None:
    maps = attention_of_motion(network, Path("cmu"), windows=70)
    assert maps.num_windows == 70
    np.testing.assert_allclose(maps.mean.sum(-1), 1, atol=1e-5)
    again = attention_of_motion(network, Path("cmu"), windows=70)
    np.testing.assert_array_equal(maps.mean, again.mean)


def test_the_picture_is_written(bank: MotionBank, tmp_path: Path) -> None:
    weights, out = tmp_path / "tiny.safetensors", tmp_path / "figure.png"
    save_network(build(TINY), weights, {})
    draw_attention((), out, motion=Path("cmu"), windows=3, weights=weights, device="cpu")
    with Image.open(out) as picture:
        assert picture.width == 2100
    assert {path.name for path in tmp_path.iterdir()} == {"tiny.safetensors", "figure.png"}


@pytest.mark.parametrize("both", [True, False])
def test_either_videos_or_motion(both: bool, tmp_path: Path) -> None:
    sources, motion = (["a.mp4"], tmp_path) if both else ([], None)
    with pytest.raises(ConfigError, match="either videos or --motion"):
        draw_attention(sources, tmp_path / "out.png", motion=motion)
