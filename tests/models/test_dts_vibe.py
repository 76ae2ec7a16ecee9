import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dtsvibe_cli.errors import ConfigError
from dtsvibe_cli.geometry.joints import BLAZEPOSE33, SMPL24_PARENTS
from dtsvibe_cli.geometry.rotations import rotmat_to_rot6d, rotvec_to_rotmat
from dtsvibe_cli.models.backbone import (
    BONE_DIRECTIONS,
    LANDMARK_FEATURES,
    Backbone,
    ResNet50Backbone,
    bone_directions,
    landmark_features,
)
from dtsvibe_cli.models.config import LITE, NUM_THETA, PAPER, TINY, ModelConfig, preset
from dtsvibe_cli.models.dts_vibe import DtsVibe, Theta, build, split_theta
from dtsvibe_cli.models.flow_encoder import ResNet50FlowEncoder
from dtsvibe_cli.models.regressor import mean_theta

GOLDEN = Path(__file__).parent / "goldens" / "lite_state.json"
"""Names and shapes of the tensors that weights files of ``lite`` hold."""

RESNET50_PARAMETERS = 23_508_032
"""Without the classifier."""

VARIANTS = [
    replace(TINY, encoder=encoder, regressor=regressor, o_cnn=o_cnn)
    for encoder in ("transformer", "gru")
    for regressor in ("transformer", "hmr")
    for o_cnn in ("small", "none")
]
every_variant = pytest.mark.parametrize(
    "config", VARIANTS, ids=lambda c: f"{c.encoder}-{c.regressor}-{c.o_cnn}"
)


def perturbed(config: ModelConfig, seed: int = 0) -> DtsVibe:
    """A network none of whose layers is at zero, where a fresh one has its corrections."""
    network = build(config, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return network.eval()


def inputs(windows: int, time: int = 16, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Appearance, flow, and frames all seen."""
    generator = torch.Generator().manual_seed(seed)
    appearance = torch.randn(windows, time, LANDMARK_FEATURES, generator=generator) * 0.5
    flow = torch.randn(windows, time, 2, 32, 32, generator=generator) * 0.05
    return appearance, flow, torch.ones(windows, time, dtype=torch.bool)


def estimate(network: DtsVibe, appearance: Tensor, flow: Tensor, valid: Tensor) -> Theta:
    with torch.inference_mode():
        theta: Theta = network(appearance, network.flow_features(flow), valid)
    return theta


def numbers(theta: Theta) -> Tensor:
    """All parts side by side."""
    return torch.cat([theta.full_pose.flatten(-3), theta.betas, theta.camera], -1)


@every_variant
def test_every_variant_gives_smpl_and_camera_of_every_frame(config: ModelConfig) -> None:
    theta = estimate(build(config).eval(), *inputs(2, 5))
    assert theta.full_pose.shape == (2, 5, 24, 3, 3)
    assert theta.betas.shape == (2, 5, 10)
    assert theta.camera.shape == (2, 5, 3)
    torch.testing.assert_close(
        torch.linalg.det(theta.full_pose), torch.ones(2, 5, 24), atol=1e-4, rtol=0
    )


@every_variant
def test_a_batch_gives_the_same_as_its_windows_one_by_one(config: ModelConfig) -> None:
    network = perturbed(config)
    appearance, flow, valid = inputs(3)
    valid[1, 9:] = False
    together = numbers(estimate(network, appearance, flow, valid))
    for k in range(3):
        alone = estimate(network, appearance[k : k + 1], flow[k : k + 1], valid[k : k + 1])
        torch.testing.assert_close(together[k : k + 1], numbers(alone), atol=1e-4, rtol=0)


@every_variant
def test_frames_that_were_not_seen_change_nothing_in_those_that_were(config: ModelConfig) -> None:
    network = perturbed(config)
    appearance, flow, valid = inputs(2)
    valid[0, 6:] = False
    valid[1, 3:5] = False
    before = numbers(estimate(network, appearance, flow, valid))
    noise, other_flow, _ = inputs(2, seed=1)
    unseen = ~valid
    appearance[unseen], flow[unseen] = noise[unseen] * 5, other_flow[unseen] * 5
    after = numbers(estimate(network, appearance, flow, valid))
    torch.testing.assert_close(after[valid], before[valid], atol=1e-5, rtol=0)


@every_variant
def test_a_short_window_equals_a_padded_one(config: ModelConfig) -> None:
    network = perturbed(config)
    appearance, flow, valid = inputs(1)
    valid[:, 10:] = False
    padded = numbers(estimate(network, appearance, flow, valid))
    short = numbers(estimate(network, appearance[:, :10], flow[:, :10], valid[:, :10]))
    torch.testing.assert_close(padded[:, :10], short, atol=5e-5, rtol=0)


def test_other_frames_of_the_window_matter() -> None:
    network = perturbed(TINY)
    appearance, flow, valid = inputs(1)
    before = numbers(estimate(network, appearance, flow, valid))
    appearance[:, 3] = 0
    after = numbers(estimate(network, appearance, flow, valid))
    assert float((after - before)[:, 12].abs().max()) > 1e-4


def test_flow_matters() -> None:
    network = perturbed(TINY)
    appearance, flow, valid = inputs(1)
    before = numbers(estimate(network, appearance, flow, valid))
    after = numbers(estimate(network, appearance, flow * 0, valid))
    assert float((after - before).abs().max()) > 1e-3


def test_inference_gives_what_training_sees_without_dropout() -> None:
    """PyTorch runs transformers through other code when no gradient is asked for."""
    network = perturbed(TINY)
    appearance, flow, valid = inputs(2)
    valid[0, 12:] = False
    with torch.enable_grad():
        slow = numbers(network(appearance, network.flow_features(flow), valid))
    assert slow.requires_grad
    fast = numbers(estimate(network, appearance, flow, valid))
    torch.testing.assert_close(fast[valid], slow.detach()[valid], atol=1e-4, rtol=0)


def test_weights_files_of_lite_stay_readable() -> None:
    """A changed name or shape would turn away every network trained so far."""
    with torch.device("meta"):
        state = DtsVibe(LITE).state_dict()
    stored = {name: tuple(shape) for name, shape in json.loads(GOLDEN.read_text())}
    assert {name: tuple(value.shape) for name, value in state.items()} == stored


def test_paper_has_the_papers_sizes() -> None:
    with torch.device("meta"):
        network = DtsVibe(PAPER).eval()
        appearance = network.v_cnn.extract(torch.empty(2, 3, 224, 224)).unflatten(0, (1, 2))
        features = network.flow_features(torch.empty(1, 2, 2, 224, 224))
        theta = network(appearance, features, torch.ones(1, 2, dtype=torch.bool))
    assert appearance.shape == (1, 2, 2048)
    assert theta.full_pose.shape == (1, 2, 24, 3, 3)
    first_filters = 64 * 7 * 7
    streams = 2 * (RESNET50_PARAMETERS + 2048 * 512 + 512) - first_filters
    layer = 4 * 512 * 512 + 4 * 512 + 2 * 512 * 2048 + 2048 + 512 + 4 * 512
    encoder = 6 * layer + 2 * 512 + 16 * 512
    regressor = sum(p.numel() for p in network.regressor.parameters())
    assert network.num_parameters() == streams + encoder + regressor
    assert NUM_THETA == 24 * 6 + 10 + 3


def test_pictures_are_normalised_as_imagenets_are() -> None:
    """The mean colour of ImageNet is nothing to the convolutions, white is about two deviations."""
    backbone = ResNet50Backbone(8).eval()
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    white = torch.tensor([2.2489, 2.4286, 2.64])[:, None, None]
    with torch.inference_mode():
        seen = backbone.extract(torch.stack([mean, torch.ones_like(mean)]).expand(2, 3, 32, 32))
        expected = backbone.cnn(torch.stack([torch.zeros_like(white), white]).expand(2, 3, 32, 32))
    torch.testing.assert_close(seen, expected, atol=1e-3, rtol=1e-3)
    assert not any("mean" in name for name in backbone.state_dict() if not name.startswith("cnn."))


@every_variant
def test_both_streams_are_backbones(config: ModelConfig) -> None:
    network = DtsVibe(config)
    assert isinstance(network.v_cnn, Backbone)
    assert network.v_cnn.num_features == LANDMARK_FEATURES
    assert network.picture_cnn is None
    assert isinstance(network.flow_cnn, Backbone) == (config.o_cnn != "none")
    assert network.flow_cnn is None or network.flow_cnn.side == config.flow_side


def test_imagenets_first_filters_are_averaged_for_flow() -> None:
    from torchvision.models import resnet50

    encoder = ResNet50FlowEncoder(8, 224)
    imagenet = resnet50(weights=None).state_dict()
    encoder.load_imagenet(imagenet)
    state = encoder.cnn.state_dict()
    torch.testing.assert_close(state["conv1.weight"][:, 1], imagenet["conv1.weight"].mean(1))
    torch.testing.assert_close(state["layer3.0.conv1.weight"], imagenet["layer3.0.conv1.weight"])


@every_variant
def test_gradients_reach_every_parameter(config: ModelConfig) -> None:
    network = perturbed(config)
    appearance, flow, valid = inputs(2, 8)
    with torch.enable_grad():
        theta = numbers(network(appearance, network.flow_features(flow), valid))
        (theta * torch.linspace(-1, 1, theta.shape[-1])).square().sum().backward()
    unreached = [
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().sum() > 0
    ]
    # the window is longer than the frames given
    for name, parameter in network.named_parameters():
        if name.endswith("position"):
            assert not parameter.grad[8:].any(), name
    assert unreached == []


@pytest.mark.parametrize("config", [TINY, replace(TINY, encoder="gru", regressor="hmr")])
def test_one_batch_is_learned_by_heart(config: ModelConfig) -> None:
    network = build(config).eval()  # no dropout: it would draw other numbers in every run
    appearance, flow, valid = inputs(2, 8)
    generator = torch.Generator().manual_seed(5)
    pose = rotvec_to_rotmat(torch.randn(2, 8, 24, 3, generator=generator) * 0.3)
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    history = []
    for _ in range(120):
        theta = network(appearance, network.flow_features(flow), valid)
        loss = (theta.full_pose - pose).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(float(loss.detach()))
    final = (estimate(network, appearance, flow, valid).full_pose - pose).square().mean()
    assert float(final) < 0.1 * history[0]


def test_the_same_seed_builds_the_same_network_and_disturbs_no_other_randomness() -> None:
    state = torch.get_rng_state()
    first, again, other = build(TINY, 3), build(TINY, 3), build(TINY, 4)
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    assert not torch.equal(first.state_dict()["encoder.position"],
                           other.state_dict()["encoder.position"])  # fmt: skip
    batch = inputs(1)
    assert torch.equal(
        numbers(estimate(first.eval(), *batch)), numbers(estimate(again.eval(), *batch))
    )


def test_an_untrained_network_starts_near_the_mean_body() -> None:
    parent, camera = (
        split_theta(mean_theta(frame).expand(1, 1, -1), frame) for frame in ("parent", "camera")
    )
    mean = numbers(parent)
    torch.testing.assert_close(numbers(camera), mean)
    upright = parent.full_pose[0, 0]
    assert upright[0].diagonal().tolist() == [1, -1, -1]  # y up becomes y down, facing the camera
    torch.testing.assert_close(upright[1:], torch.eye(3).expand(23, 3, 3))
    started = numbers(estimate(build(TINY).eval(), *inputs(4)))
    assert float((started - mean).abs().mean()) < 0.1


def test_rotations_before_the_camera_become_relative_to_the_parents() -> None:
    rotvec = torch.randn(2, 3, 24, 3, generator=torch.Generator().manual_seed(1))
    relative = rotvec_to_rotmat(rotvec)
    before = [relative[..., 0, :, :]]
    for joint, parent in enumerate(SMPL24_PARENTS[1:], start=1):
        before.append(before[parent] @ relative[..., joint, :, :])
    numbers_6d = rotmat_to_rot6d(torch.stack(before, -3)).flatten(-2)
    theta = split_theta(torch.cat([numbers_6d, torch.zeros(2, 3, 13)], -1), "camera")
    torch.testing.assert_close(theta.full_pose, relative, atol=1e-5, rtol=0)


def test_bone_directions_turn_with_the_body_and_ignore_its_size() -> None:
    generator = torch.Generator().manual_seed(2)
    world = torch.randn(5, 33, 3, generator=generator)
    turn = rotvec_to_rotmat(torch.tensor([0.4, -1.0, 0.3]))

    def directions(world_m: torch.Tensor) -> torch.Tensor:
        rest = torch.zeros(5, 33, 2), torch.ones(5, 33), world_m, torch.zeros(5, 17, 3)
        return bone_directions(landmark_features(*rest)).unflatten(-1, (-1, 3))

    world = 0.4 * world.clamp(-1, 1)
    plain, turned = directions(world), directions(world @ turn.T * 1.5)
    assert plain.shape[1] * 3 == BONE_DIRECTIONS
    torch.testing.assert_close(turned, plain @ turn.T, atol=1e-4, rtol=0)
    left_thigh = world[:, BLAZEPOSE33.index("left_knee")] - world[:, BLAZEPOSE33.index("left_hip")]
    nearest = (plain @ torch.nn.functional.normalize(left_thigh, dim=-1)[..., None]).amax((1, 2))
    torch.testing.assert_close(nearest, torch.ones(5))


def test_landmark_features_leave_out_keypoints_that_were_not_given() -> None:
    keypoints = torch.rand(3, 17, 3) + 0.1
    keypoints[1, :, 2] = 0
    rest = torch.zeros(3, 33, 2), torch.ones(3, 33), torch.zeros(3, 33, 3)
    features = landmark_features(*rest, keypoints)
    assert features.shape == (3, LANDMARK_FEATURES)
    assert not features[1, -51:].any()
    torch.testing.assert_close(features[0, -51:].view(17, 3), keypoints[0])


def test_outliers_among_the_features_are_clamped() -> None:
    far = torch.full((33, 2), 50.0), torch.ones(33), torch.full((33, 3), -9.0)
    features = landmark_features(*far, torch.full((17, 3), 7.0).index_fill(-1, torch.tensor(2), 1))
    assert float(features.abs().max()) == 2


def test_configurations_travel_as_plain_values() -> None:
    assert ModelConfig.from_dict(json.loads(json.dumps(PAPER.to_dict()))) == PAPER
    assert preset("lite") == LITE


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "x", "encoder": "lstm"}, "encoder"),
        ({"name": "x", "colour": 3}, "colour"),
        ({"name": "x", "window": "16"}, "window"),
        ({"name": "x", "encoder_heads": 7}, "encoder_heads = 7"),
        ({"name": "x", "d_regressor": 157}, "d_regressor = 157"),
        ({"name": "x", "window": 0}, "window = 0"),
        ({}, "name"),
    ],
)
def test_an_impossible_configuration_is_refused_by_name(
    values: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        ModelConfig.from_dict(values)


def test_an_unknown_preset_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match="lite, paper, tiny"):
        preset("huge")
