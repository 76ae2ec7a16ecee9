import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dtsvibe_cli import weights
from dtsvibe_cli.errors import WeightsError

TENSORS = {
    "layer.weight": torch.arange(600, dtype=torch.float16).reshape(20, 30),
    "layer.bias": torch.linspace(0, 1, 20),
    "steps": torch.tensor([7]),
}
METADATA = {"format": 1, "config": {"width": 20, "names": ["a", "b"]}, "licence": "CC0-1.0"}


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(
        found[name].dtype == tensor.dtype and torch.equal(found[name], tensor)
        for name, tensor in expected.items()
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weights folder with one entry, ``tiny``, in several shards."""
    files = weights.write_tensors(
        tmp_path / "tiny.safetensors", TENSORS, METADATA, max_shard_bytes=1250
    )
    lines = ['[tiny]\ndescription = "d"\nlicence = "CC0-1.0"\norigin = "o"\nbuilder = "b"']
    for path in files:
        file = weights.describe_file(path)
        lines += ["[[tiny.files]]", f'name = "{file.name}"', f'sha256 = "{file.sha256}"']
        lines += [f"size_bytes = {file.size_bytes}"]
    lines += ["[tiny.metrics]", "error_mm = 61"]
    (tmp_path / "registry.toml").write_text("\n".join(lines))
    monkeypatch.setenv("DTSVIBE_WEIGHTS", str(tmp_path))
    return tmp_path


# ---- what is shipped


def test_every_shipped_file_is_registered_and_whole() -> None:
    entries = weights.registry()
    for name in entries:
        weights.verify(name)
    registered = {file.name for spec in entries.values() for file in spec.files}
    shipped = {
        path.name
        for path in weights.weights_dir().iterdir()
        if path.suffix in (".safetensors", ".npz")
    }
    assert registered == shipped


def test_readme_names_every_file_with_its_checksum() -> None:
    readme = (weights.weights_dir() / "README.md").read_text(encoding="utf-8")
    for spec in weights.registry().values():
        for file in spec.files:
            assert file.name in readme
            assert file.sha256[:12] in readme


def test_shipped_networks_say_their_licence_and_origin() -> None:
    for name in ("blazepose_landmark_full", "movenet_multipose"):
        tensors, metadata = weights.read_tensors(name)
        assert metadata["licence"] == "Apache-2.0"
        assert metadata["origin"]
        assert all(tensor.dtype == torch.float16 for tensor in tensors.values())


# ---- finding and verifying


def test_registry_entry_is_read(folder: Path) -> None:
    spec = weights.spec("tiny")
    paths = weights.find("tiny")
    assert [path.name for path in paths] == [file.name for file in spec.files]
    assert len(paths) == 2
    assert spec.size_bytes == sum(path.stat().st_size for path in paths)
    assert spec.metrics == {"error_mm": 61.0}
    weights.verify("tiny")
    assert same(weights.read_tensors("tiny")[0], TENSORS)


def test_flipped_byte_is_found(folder: Path) -> None:
    path = weights.find("tiny")[1]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    expected = weights.spec("tiny").files[1].sha256
    with pytest.raises(WeightsError) as error:
        weights.verify("tiny")
    assert str(path) in str(error.value)
    assert expected in str(error.value)
    assert weights.sha256_of(path) in str(error.value)


def test_truncated_file_is_found_without_reading_it(folder: Path) -> None:
    path = weights.find("tiny")[0]
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(WeightsError, match=r"has \d+ bytes instead of \d+.*weights verify"):
        weights.find("tiny")


def test_missing_file_is_found(folder: Path) -> None:
    weights.find("tiny")[0].unlink()
    with pytest.raises(WeightsError, match=r"00001-of-00002.*is missing.*weights verify"):
        weights.read_tensors("tiny")


def test_unknown_name_lists_the_known(folder: Path) -> None:
    with pytest.raises(WeightsError, match="'huge': choose from tiny"):
        weights.find("huge")


def test_chosen_folder_without_registry_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DTSVIBE_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=r"DTSVIBE_WEIGHTS is .*, which holds no registry"):
        weights.weights_dir()


def test_installed_package_comes_before_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DTSVIBE_WEIGHTS", raising=False)
    monkeypatch.setattr(weights, "__file__", str(tmp_path / "package" / "weights.py"))
    checkout, installed = tmp_path / "weights", tmp_path / "package" / "_weights"
    with pytest.raises(WeightsError, match="No weights found in"):
        weights.weights_dir()
    for expected in (checkout, installed):
        expected.mkdir(parents=True)
        (expected / "registry.toml").touch()
        assert weights.weights_dir().resolve() == expected.resolve()


@pytest.mark.parametrize(
    "text",
    [
        "[tiny",
        "tiny = 3",
        '[tiny]\nlicence = "x"',
        '[tiny]\ndescription="d"\nlicence="l"\norigin="o"\nbuilder="b"\nfiles=[]\nspeed=1',
    ],
)
def test_damaged_registry_is_refused(folder: Path, text: str) -> None:
    (folder / "registry.toml").write_text(text)
    with pytest.raises(WeightsError, match=r"registry\.toml is damaged"):
        weights.registry()


# ---- reading and writing


@pytest.mark.parametrize("max_shard_bytes", [1, 1250, 10**6])
def test_written_tensors_come_back(tmp_path: Path, max_shard_bytes: int) -> None:
    path = tmp_path / "new.safetensors"
    files = weights.write_tensors(path, TENSORS, METADATA, max_shard_bytes)
    assert len(files) == {1: 3, 1250: 2, 10**6: 1}[max_shard_bytes]
    for source in (path, str(path), *files):
        tensors, metadata = weights.read_tensors(source)
        assert same(tensors, TENSORS)
        assert metadata == METADATA


def test_same_content_gives_same_bytes(tmp_path: Path) -> None:
    (first,) = weights.write_tensors(tmp_path / "a.safetensors", TENSORS, METADATA)
    turned = dict(reversed(TENSORS.items())), dict(reversed(METADATA.items()))
    (second,) = weights.write_tensors(tmp_path / "b.safetensors", *turned)
    assert first.read_bytes() == second.read_bytes()


def test_missing_shard_is_named(tmp_path: Path) -> None:
    files = weights.write_tensors(tmp_path / "a.safetensors", TENSORS, METADATA, 1250)
    files[1].unlink()
    for source in (files[0], tmp_path / "a.safetensors"):
        with pytest.raises(WeightsError, match=r"a-00002-of-00002\.safetensors is missing"):
            weights.read_tensors(source)


def test_shards_of_different_sets_do_not_mix(tmp_path: Path) -> None:
    mine = weights.write_tensors(tmp_path / "a.safetensors", TENSORS, METADATA, 1250)
    other = weights.write_tensors(tmp_path / "b.safetensors", TENSORS, {"format": 2}, 1250)
    shutil.copyfile(other[1], mine[1])
    with pytest.raises(WeightsError, match="another set"):
        weights.read_tensors(mine[0])


def test_old_shards_beside_new_ones_are_not_guessed_between(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    weights.write_tensors(path, TENSORS, METADATA, 1250)
    weights.write_tensors(path, TENSORS, METADATA, 1)
    with pytest.raises(WeightsError, match="several sets of shards"):
        weights.read_tensors(path)


def test_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"nothing\.safetensors is missing.*weights list"):
        weights.read_tensors(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("kind", ["empty", "text", "truncated", "pickle", "folder"])
def test_damaged_file_is_one_clear_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bad.safetensors"
    match kind:
        case "empty":
            path.touch()
        case "text":
            path.write_text(json.dumps(METADATA))
        case "truncated":
            weights.write_tensors(path, TENSORS, METADATA)
            path.write_bytes(path.read_bytes()[:-100])
        case "pickle":
            torch.save(TENSORS, path)
        case "folder":
            path.mkdir()
    with pytest.raises(WeightsError, match=r"bad\.safetensors is (damaged|missing)") as error:
        weights.read_tensors(path)
    assert "reinstall" not in str(error.value)


def test_a_damaged_file_of_ours_is_mended_by_reinstalling(folder: Path) -> None:
    path = weights.find("tiny")[0]
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(WeightsError, match=r"is damaged.*reinstall dtsvibe"):
        weights.read_tensors("tiny")


def test_weights_of_others_without_our_metadata_can_be_read(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "foreign.safetensors"
    save_file(TENSORS, path)
    tensors, metadata = weights.read_tensors(path)
    assert same(tensors, TENSORS)
    assert metadata == {}
