from pathlib import Path

import pytest
import torch

from dtsvibe_cli.errors import WeightsError
from dtsvibe_cli.models.backbone import LANDMARK_FEATURES
from dtsvibe_cli.models.checkpoint import (
    KIND,
    SCALE_SUFFIX,
    built_in_name,
    load_network,
    pack,
    save_network,
    unpack,
)
from dtsvibe_cli.models.config import TINY
from dtsvibe_cli.models.dts_vibe import DtsVibe, build
from dtsvibe_cli.weights import read_tensors, write_tensors


@pytest.fixture(scope="module")
def network() -> DtsVibe:
    return build(TINY, 1).eval()


@pytest.fixture
def stored(network: DtsVibe, tmp_path: Path) -> Path:
    (path,) = save_network(network, tmp_path / "network.safetensors", {"steps": 5})
    return path


def test_packing_errs_by_less_than_a_250th_of_a_rows_largest_weight() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = (
        torch.randn(64, 8, 3, 3, generator=generator)
        * torch.logspace(-4, 2, 64)[:, None, None, None]
    )
    rows[3] = 0
    packed = pack({"a": rows})
    assert packed["a"].dtype == torch.int8
    again = unpack(packed)["a"]
    assert again.dtype == torch.float32
    error = (again - rows).abs().flatten(1).amax(1)
    assert (error <= rows.abs().flatten(1).amax(1) / 250).all()
    assert not again[3].any()


def test_small_tensors_stay_floats_and_counters_stay_counters() -> None:
    generator = torch.Generator().manual_seed(0)
    state = {
        "small": torch.randn(10, 10, generator=generator),
        "long_vector": torch.randn(9000, generator=generator),
        "count": torch.tensor(70_000),
    }
    packed = pack(state)
    assert packed.keys() == state.keys()
    again = unpack(packed)
    assert int(again["count"]) == 70_000
    for name in ("small", "long_vector"):
        torch.testing.assert_close(again[name], state[name], atol=1e-6, rtol=1e-3)


def test_a_packed_network_is_about_a_quarter_of_its_floats(network: DtsVibe) -> None:
    large = {k: v for k, v in network.state_dict().items() if v.numel() >= 4096 and v.dim() > 1}
    assert large
    size = sum(value.nbytes for value in pack(large).values())
    assert size < 0.27 * sum(value.nbytes for value in large.values())


def test_a_saved_network_loads_with_its_configuration(network: DtsVibe, stored: Path) -> None:
    loaded = load_network(stored)
    assert loaded.config == TINY
    assert not loaded.training
    expected = unpack(pack(network.state_dict()))
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, expected[name]), name
    appearance = torch.randn(1, 16, LANDMARK_FEATURES, generator=torch.Generator().manual_seed(0))
    flow = torch.zeros(1, 16, 2, 32, 32)
    valid = torch.ones(1, 16, dtype=torch.bool)
    with torch.inference_mode():
        before = network(appearance, network.flow_features(flow), valid)
        after = loaded(appearance, loaded.flow_features(flow), valid)
    torch.testing.assert_close(after.full_pose, before.full_pose, atol=0.02, rtol=0)
    assert read_tensors(stored)[1]["about"] == {"steps": 5}


def test_saving_twice_gives_the_same_bytes(network: DtsVibe, stored: Path, tmp_path: Path) -> None:
    (again,) = save_network(network, tmp_path / "again.safetensors", {"steps": 5})
    assert again.read_bytes() == stored.read_bytes()


def test_another_kind_of_weights_is_refused(tmp_path: Path) -> None:
    (path,) = write_tensors(
        tmp_path / "other.safetensors", {"a": torch.zeros(2)}, {"kind": "blazepose"}
    )
    with pytest.raises(WeightsError, match="does not hold a dtsvibe network"):
        load_network(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="missing"):
        load_network(tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    "lost",
    ["regressor.coarse.bias", "v_cnn.project.0.weight", f"v_cnn.project.0.weight{SCALE_SUFFIX}"],
)
def test_a_lost_tensor_is_noticed(stored: Path, tmp_path: Path, lost: str) -> None:
    tensors, metadata = read_tensors(stored)
    del tensors[lost]
    (path,) = write_tensors(tmp_path / "lost.safetensors", tensors, metadata)
    with pytest.raises(WeightsError):
        load_network(path)


def test_a_tensor_too_many_or_of_another_shape_is_noticed(stored: Path, tmp_path: Path) -> None:
    tensors, metadata = read_tensors(stored)
    for change in ({"extra": torch.zeros(2)}, {"regressor.coarse.bias": torch.zeros(3)}):
        (path,) = write_tensors(tmp_path / "odd.safetensors", tensors | change, metadata)
        with pytest.raises(WeightsError, match="does not fit"):
            load_network(path)


@pytest.mark.parametrize("model", [None, {"name": "x", "colour": 1}])
def test_a_file_without_a_configuration_we_know_is_refused(
    stored: Path, tmp_path: Path, model: dict[str, object] | None
) -> None:
    tensors, _ = read_tensors(stored)
    metadata = {"kind": KIND} if model is None else {"kind": KIND, "model": model}
    (path,) = write_tensors(tmp_path / "unknown.safetensors", tensors, metadata)
    with pytest.raises(WeightsError, match="does not fit"):
        load_network(path)


def test_only_names_in_the_registry_stand_for_built_in_networks(tmp_path: Path) -> None:
    assert built_in_name("no_such_network") == "no_such_network"
    assert built_in_name(tmp_path / "lite") == tmp_path / "lite"
