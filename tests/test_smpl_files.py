import pickle
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from synthetic import smpl_arrays

from dtsvibe_cli import weights
from dtsvibe_cli.errors import BodyModelError
from dtsvibe_cli.geometry.joints import BLAZEPOSE33, BLAZEPOSE33_MIRROR, SMPL24
from dtsvibe_cli.smpl_files import SMPL_NUM_VERTICES, SMPL_VERTEX_IDS, load_body_model


@pytest.fixture(scope="module")
def official() -> dict[str, np.ndarray]:
    """Arrays with the official sizes, small enough to be written often."""
    arrays = smpl_arrays(SMPL_NUM_VERTICES)
    del arrays["posedirs"]  # the largest one; a test of its own has it
    return arrays


class _Chumpy:
    """What a chumpy object looks like to pickle: a class of its module with a dictionary."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


@pytest.fixture
def chumpy(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Makes objects that are pickled under the names of chumpy's classes."""
    modules = {}
    for name in ("ch", "reordering"):
        module = types.ModuleType(f"chumpy.{name}")
        for class_name in ("Ch", "Select"):
            kind = type(class_name, (_Chumpy,), {"__module__": module.__name__})
            setattr(module, class_name, kind)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        modules[name] = module
    monkeypatch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))

    def make(name: str, **fields: Any) -> Any:
        module, class_name = name.split(".")
        return getattr(modules[module], class_name)(**fields)

    return make


def _write(path: Path, content: object, protocol: int = 2) -> Path:
    with path.open("wb") as file:
        pickle.dump(content, file, protocol=protocol)
    return path


def _assert_holds(path: Path, arrays: dict[str, np.ndarray]) -> None:
    body = load_body_model(path)
    for name in ("v_template", "weights"):
        np.testing.assert_allclose(getattr(body, name).numpy(), arrays[name], atol=1e-6)
    np.testing.assert_allclose(body.shapedirs.numpy(), arrays["shapedirs"][..., :10], atol=1e-6)
    joints = arrays["J_regressor"] @ arrays["v_template"]
    np.testing.assert_allclose(body.joint_template.numpy(), joints, atol=1e-5)
    assert body.faces.tolist() == arrays["f"].tolist()


# --- the built-in body ----------------------------------------------------------------------------


def test_built_in_body_is_whole() -> None:
    body = load_body_model()
    assert body.v_template.shape == (7000, 3)
    assert body.num_betas == 10
    assert body.posedirs is None
    assert body.v_template.dtype == torch.float32
    assert body.sha256 == weights.sha256_of(weights.find("body7k")[0])
    assert "CC0" in body.licence
    torch.testing.assert_close(body.weights.sum(1), torch.ones(7000))
    stature = body.v_template[:, 1].max() - body.v_template[:, 1].min()
    assert abs(float(stature) - 1.70) < 0.01


def test_built_in_body_is_a_closed_surface() -> None:
    faces = load_body_model().faces
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    directed = {tuple(edge) for edge in edges.tolist()}
    assert len(directed) == len(edges)
    assert all((end, start) in directed for start, end in directed)


def test_built_in_betas_mean_what_the_manual_says() -> None:
    body = load_body_model()

    def stature(beta: int, value: float) -> float:
        height = (body.v_template + value * body.shapedirs[..., beta])[:, 1]
        return float(height.max() - height.min())

    assert stature(0, 2) - stature(0, -2) > 0.3
    assert all(abs(stature(beta, 2) - stature(beta, -2)) < 0.01 for beta in range(1, 10))


def test_built_in_landmarks_are_where_people_have_them() -> None:
    body = load_body_model()
    points = _landmark_points(body.v_template, body.joint_template, body.landmark_vertices)
    by_name = dict(zip(BLAZEPOSE33, points, strict=True))
    flipped = points[list(BLAZEPOSE33_MIRROR)] * torch.tensor([-1.0, 1, 1])
    torch.testing.assert_close(points, flipped, atol=3e-3, rtol=0)
    assert by_name["left_ear"][0] > by_name["left_eye_outer"][0] > by_name["left_eye_inner"][0] > 0
    assert by_name["left_eye"][1] > by_name["nose"][1] > by_name["mouth_left"][1]
    assert by_name["nose"][2] > by_name["left_eye"][2] > by_name["left_ear"][2]
    assert by_name["left_foot_index"][2] > by_name["left_ankle"][2] > by_name["left_heel"][2]
    assert by_name["left_index"][2] > by_name["left_pinky"][2]
    assert by_name["left_index"][0] > by_name["left_wrist"][0]


def _landmark_points(
    vertices: torch.Tensor, joints: torch.Tensor, rings: tuple[tuple[int, ...], ...]
) -> torch.Tensor:
    return torch.stack(
        [
            vertices[list(ring)].mean(0) if ring else joints[SMPL24.index(name)]
            for name, ring in zip(BLAZEPOSE33, rings, strict=True)
        ]
    )


# --- official files -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "sparse"),
    [(0, "csc_matrix"), (2, "csc_matrix"), (4, "csr_matrix"), (5, "coo_matrix"), (5, None)],
)
def test_official_pickle_is_read(
    tmp_path: Path,
    official: dict[str, np.ndarray],
    chumpy: Callable[..., Any],
    protocol: int,
    sparse: str | None,
) -> None:
    content: dict[str, Any] = dict(official)
    content["v_template"] = chumpy("ch.Ch", x=official["v_template"], _depends_on_deps=None)
    wide = np.concatenate([official["shapedirs"], np.zeros((SMPL_NUM_VERTICES, 3, 2))], -1)
    select = np.arange(wide.size).reshape(wide.shape)[..., :10]
    content["shapedirs"] = chumpy(
        "reordering.Select",
        a=chumpy("ch.Ch", x=wide),
        idxs=select.ravel(),
        preferred_shape=select.shape,
    )
    if sparse is not None:
        content["J_regressor"] = getattr(scipy.sparse, sparse)(official["J_regressor"])
    content |= {"bs_style": "lbs", "J": chumpy("ch.Ch", x=np.zeros((24, 3)))}
    path = _write(tmp_path / "basicModel_neutral.pkl", content, protocol)
    _assert_holds(path, official)
    body = load_body_model(path)
    assert body.name == "basicModel_neutral"
    assert "Max Planck" in body.licence


def test_pose_blend_shapes_are_kept_unless_all_are_zero(
    tmp_path: Path, official: dict[str, np.ndarray]
) -> None:
    posedirs = np.zeros((SMPL_NUM_VERTICES, 3, 207), np.float32)
    path = _write(tmp_path / "none.pkl", {**official, "posedirs": posedirs})
    assert load_body_model(path).posedirs is None
    posedirs[5, 1, 206] = 0.25
    path = _write(tmp_path / "some.pkl", {**official, "posedirs": posedirs})
    found = load_body_model(path).posedirs
    assert found is not None
    np.testing.assert_array_equal(found.numpy(), posedirs)


def test_pickle_of_python_2_is_read(tmp_path: Path, official: dict[str, np.ndarray]) -> None:
    path = _write(tmp_path / "old.pkl", official)
    content = path.read_bytes().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    path.write_bytes(content)
    _assert_holds(path, official)


def test_official_npz_is_read_and_300_betas_are_cut_to_10(
    tmp_path: Path, official: dict[str, np.ndarray]
) -> None:
    path = tmp_path / "SMPL_NEUTRAL.npz"
    more = np.zeros((SMPL_NUM_VERTICES, 3, 20))
    wide = {**official, "shapedirs": np.concatenate([official["shapedirs"], more], -1)}
    np.savez(path, **wide)  # type: ignore[arg-type]
    _assert_holds(path, wide)
    assert load_body_model(path).num_betas == 10


def test_official_landmarks_lie_on_the_same_places_as_on_the_free_body(
    tmp_path: Path, official: dict[str, np.ndarray]
) -> None:
    """A stand-in for the official mesh: the free skin, with the published ids where they belong."""
    free = load_body_model()
    template = np.zeros((SMPL_NUM_VERTICES, 3))
    template[:24] = free.joint_template
    template[24:] = free.v_template[: SMPL_NUM_VERTICES - 24]
    for name, vertex in SMPL_VERTEX_IDS.items():
        template[vertex] = free.v_template[free.meta["vertex_ids"][name]]
    regressor = np.eye(24, SMPL_NUM_VERTICES)
    arrays = {**official, "v_template": template, "J_regressor": regressor}
    path = tmp_path / "stand_in.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    body = load_body_model(path)
    expected = _landmark_points(free.v_template, free.joint_template, free.landmark_vertices)
    points = _landmark_points(body.v_template, body.joint_template, body.landmark_vertices)
    error = dict(zip(BLAZEPOSE33, (points - expected).norm(dim=-1).tolist(), strict=True))
    parts = ("inner", "outer", "mouth", "pinky", "thumb", "left_index", "right_index")
    known = [name for name in error if not any(part in name for part in parts)]
    assert len(known) == 33 - 12
    assert max(error[name] for name in known) < 1e-5
    assert max(error.values()) < 0.025


# --- refused files --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "attack",
    [
        b"cos\nsystem\n(S'touch MARKER'\ntR.",
        b"cposix\nsystem\n(S'touch MARKER'\ntR.",
        b'cbuiltins\neval\n(S\'open("MARKER", "w")\'\ntR.',
        b"c__builtin__\ngetattr\n(c__builtin__\nobject\nS'__subclasses__'\ntR.",
        b"cscipy.sparse._csc\nos\n.",
        b"cnumpy\nload\n(S'MARKER'\ntR.",
        b"cdtsvibe_cli.smpl_pickle\npickle.loads\n.",
        b"ccopy_reg\n_reconstructor\n(c__builtin__\nset\nc__builtin__\nobject\nNtR.",
        b"c_codecs\nencode\n(S'MARKER'\nS'rot13'\ntR.",
        b"PMARKER\n.",
    ],
)
def test_hostile_pickle_is_refused_and_runs_nothing(tmp_path: Path, attack: bytes) -> None:
    marker, path = tmp_path / "marker", tmp_path / "smpl.pkl"
    path.write_bytes(attack.replace(b"MARKER", str(marker).encode()))
    with pytest.raises(BodyModelError, match=r"was refused: it asks for .*original file"):
        load_body_model(path)
    assert not marker.exists()


def test_code_behind_a_chumpy_name_is_not_imported(
    tmp_path: Path, official: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[object] = []
    module = types.ModuleType("chumpy")
    module.run = lambda *args: calls.append(args)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "chumpy", module)
    path = tmp_path / "smpl.pkl"
    path.write_bytes(b"cchumpy\nrun\n(S'rm'\ntR.")
    with pytest.raises(BodyModelError):
        load_body_model(path)
    assert not calls


def test_npz_with_pickled_objects_is_refused(tmp_path: Path, official: dict[str, Any]) -> None:
    path = tmp_path / "objects.npz"
    np.savez(path, **{**official, "J_regressor": np.array([{"a": 1}], object)})
    with pytest.raises(BodyModelError, match=r"cannot be read as \.npz"):
        load_body_model(path)


# --- files of another kind ------------------------------------------------------------------------


@pytest.mark.parametrize(("joints", "family"), [(52, "SMPL\\+H"), (55, "SMPL-X"), (16, "MANO")])
def test_other_families_are_named(
    tmp_path: Path, official: dict[str, np.ndarray], joints: int, family: str
) -> None:
    tree = np.stack([np.arange(joints) - 1, np.arange(joints)])
    path = _write(tmp_path / "other.pkl", {**official, "kintree_table": tree})
    with pytest.raises(BodyModelError, match=rf"{joints} joints \({family}\); only 24-joint SMPL"):
        load_body_model(path)


def test_another_joint_order_is_refused(tmp_path: Path, official: dict[str, np.ndarray]) -> None:
    tree = official["kintree_table"].copy()
    tree[0, 23] = 5
    path = _write(tmp_path / "other.pkl", {**official, "kintree_table": tree})
    with pytest.raises(BodyModelError, match="24 joints in another order"):
        load_body_model(path)


def _cut(name: str, array: np.ndarray) -> Callable[[dict[str, Any]], None]:
    return lambda content: content.update({name: array})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("weights"), r"has no weights; only 24-joint SMPL"),
        (lambda c: c.update(smpl_arrays(120)), r"120 vertices where SMPL has 6890"),
        (_cut("weights", np.ones((6889, 24))), r"weights has shape \(6889, 24\)"),
        (_cut("J_regressor", np.ones((23, 6890))), r"J_regressor has shape \(23, 6890\)"),
        (_cut("posedirs", np.ones((6890, 3, 9))), r"posedirs has shape \(6890, 3, 9\)"),
        (_cut("f", np.full((5, 3), 6890)), r"vertices that it does not have"),
        (_cut("v_template", np.full((6890, 3), np.nan)), r"v_template .* bad numbers"),
        (_cut("v_template", np.array("text")), r"not a body model file"),
        (_cut("f", np.ones((2, 2))), r"f has shape \(2, 2\)"),
    ],
)
def test_damaged_content_is_named(
    tmp_path: Path,
    official: dict[str, np.ndarray],
    change: Callable[[dict[str, Any]], None],
    message: str,
) -> None:
    content: dict[str, Any] = dict(official)
    change(content)
    path = _write(tmp_path / "smpl.pkl", content)
    with pytest.raises(BodyModelError, match=message):
        load_body_model(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x80", b"hello", b"PK\x03\x04 no zip", b"\x80\x04N.", b"(lp0\n.", b"}.", b"\x00" * 100],
)
def test_garbage_gets_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "garbage.pkl"
    path.write_bytes(content)
    with pytest.raises(BodyModelError) as raised:
        load_body_model(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_truncated_files_are_refused(tmp_path: Path, official: dict[str, np.ndarray]) -> None:
    path = tmp_path / "smpl.npz"
    np.savez(path, **official)  # type: ignore[arg-type]
    for whole in (path, _write(tmp_path / "smpl.pkl", official)):
        whole.write_bytes(whole.read_bytes()[:100_000])
        with pytest.raises(BodyModelError):
            load_body_model(whole)


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(BodyModelError, match=r"nothing\.pkl .*check the path"):
        load_body_model(tmp_path / "nothing.pkl")
    with pytest.raises(BodyModelError, match="check the path"):
        load_body_model(tmp_path)
