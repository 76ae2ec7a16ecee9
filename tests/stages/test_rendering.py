import functools
import itertools
import logging
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from dtsvibe_cli.datatypes import PinholeCamera
from dtsvibe_cli.errors import RenderError
from dtsvibe_cli.smpl_files import load_body_model
from dtsvibe_cli.stages import rendering
from dtsvibe_cli.stages.rendering import MeshInstance, Renderer, make_renderer, software_renderer

NAMES = ("egl", "numba", "numpy")
CAMERA = PinholeCamera(focal_length_px=300.0, center_px=(101.3, 74.6), source="option")
WIDTH, HEIGHT = 200, 150
BLUE, RED = (0.2, 0.3, 1.0), (1.0, 0.3, 0.2)


def _open(name: str) -> Renderer:
    if name == "numba":
        pytest.importorskip("numba", reason="numba is an extra")
    try:
        return make_renderer(name)
    except RenderError as error:
        if name == "egl":
            pytest.skip(f"EGL does not draw here: {error}")
        raise


@pytest.fixture(scope="module")
def renderers() -> Iterator[Callable[[str], Renderer]]:
    opened: dict[str, Renderer] = {}

    def get(name: str) -> Renderer:
        if name not in opened:
            opened[name] = _open(name)
        return opened[name]

    yield get
    for renderer in opened.values():
        renderer.close()


@pytest.fixture(params=NAMES)
def renderer(request: pytest.FixtureRequest, renderers: Callable[[str], Renderer]) -> Renderer:
    return renderers(request.param)


def _sphere(center, radius=0.3, color=BLUE, num=24):
    """A closed ball: faces counter-clockwise seen from outside."""
    polar, around = np.meshgrid(
        np.linspace(0, np.pi, num + 1), np.linspace(0, 2 * np.pi, 2 * num + 1), indexing="ij"
    )
    points = [np.sin(polar) * np.cos(around), np.cos(polar), np.sin(polar) * np.sin(around)]
    ids = np.arange(polar.size).reshape(polar.shape)
    a, b, c, d = ids[:-1, :-1], ids[:-1, 1:], ids[1:, 1:], ids[1:, :-1]
    faces = np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)]).reshape(-1, 3)
    vertices = np.stack(points, -1).reshape(-1, 3) * radius + center
    return MeshInstance(vertices_cam=vertices.astype(np.float32), faces=faces, color_rgb=color)


def _rectangle(left, top, right, bottom, depth=2.0, camera=CAMERA):
    """A rectangle given by its edges in the picture."""
    px = np.array([[left, top], [left, bottom], [right, bottom], [right, top]], float)
    rays = (px - camera.center_px) / camera.focal_length_px
    vertices = np.concatenate([rays, np.ones((4, 1))], 1) * depth
    return MeshInstance(
        vertices_cam=vertices.astype(np.float32),
        faces=np.array([[0, 1, 2], [0, 2, 3]]),
        color_rgb=(1.0, 1.0, 1.0),
    )


@functools.cache
def _body(offset=(0.0, 0.2, 4.0), turn=0.5) -> MeshInstance:
    """The built-in body, upright in the camera's axes, half turned."""
    model = load_body_model()
    pose = torch.eye(3).repeat(1, 24, 1, 1)
    cos, sin = np.cos(turn), np.sin(turn)
    pose[0, 0] = torch.tensor([[cos, 0.0, sin], [0.0, -1.0, 0.0], [sin, 0.0, -cos]])
    vertices = model.vertices(pose, torch.zeros(1, model.num_betas), torch.tensor([offset]))
    return MeshInstance(vertices_cam=vertices[0].numpy(), faces=model.faces.numpy(), color_rgb=BLUE)


def _noise(width=WIDTH, height=HEIGHT):
    # no channel above 180: everything that is drawn over it shows
    return np.random.default_rng(0).integers(60, 180, (height, width, 3), np.uint8)


def _changed(before, after):
    return (before != after).any(-1)


def _box(mask):
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


def _projected_box(mesh, camera=CAMERA):
    px = mesh.vertices_cam[:, :2] / mesh.vertices_cam[:, 2:] * camera.focal_length_px
    px = px + np.array(camera.center_px)
    return np.concatenate([px.min(0), px.max(0)])


def test_silhouette_box_is_that_of_the_projected_vertices(renderer):
    body = _body()
    image = _noise()
    drawn = renderer.draw(image, [body], CAMERA)
    box = _projected_box(body)
    assert (box[:2] > 0).all()  # all of it is in the picture
    assert (box[2:] < [WIDTH, HEIGHT]).all()
    np.testing.assert_allclose(_box(_changed(image, drawn)), box, atol=2)


def test_pixel_centres_lie_at_one_half(renderer):
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    # a hair wider than the pixels, so that rounding cannot lose an edge
    drawn = renderer.draw(image, [_rectangle(9.9, 19.9, 30.1, 40.1)], CAMERA)
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[20:40, 10:30] = True
    np.testing.assert_array_equal(_changed(image, drawn), expected)


def test_a_pixel_half_covered_is_half_mixed(renderer):
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    drawn = renderer.draw(image, [_rectangle(10.5, 20, 30, 40)], CAMERA).astype(int)
    assert abs(2 * drawn[30, 10] - drawn[30, 11]).max() <= 3
    assert drawn[30, 11].min() > 80


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(NAMES, 2)))
def test_back_ends_give_the_same_picture(renderers, one, other):
    image = _noise()
    meshes = [_body(), _sphere([0.15, 0.1, 3.6], color=RED), _sphere([-0.5, -0.1, 2.5], 0.2)]
    first = renderers(one).draw(image, meshes, CAMERA)
    second = renderers(other).draw(image, meshes, CAMERA)
    masks = _changed(image, first), _changed(image, second)
    union = masks[0] | masks[1]
    assert union.sum() > 3000
    assert (masks[0] & masks[1]).sum() / union.sum() > 0.999
    assert np.abs(first.astype(int) - second)[union].mean() < 0.1


@pytest.mark.parametrize("swapped", [False, True])
def test_the_nearer_mesh_hides_the_farther(renderer, swapped):
    near, far = _sphere([0.0, 0.0, 2.0], 0.1, RED), _sphere([0.0, 0.0, 3.0], 0.4, BLUE)
    meshes = [far, near] if swapped else [near, far]
    drawn = renderer.draw(_noise(), meshes, CAMERA).astype(int)
    x, y = round(CAMERA.center_px[0]), round(CAMERA.center_px[1])
    assert drawn[y, x, 0] > 1.5 * drawn[y, x, 2]  # red in the middle
    assert drawn[y, x + 28, 2] > 1.5 * drawn[y, x + 28, 0]  # blue around it
    without_far = renderer.draw(_noise(), [near], CAMERA)
    np.testing.assert_array_equal(
        drawn[y - 8 : y + 8, x - 8 : x + 8], without_far[y - 8 : y + 8, x - 8 : x + 8]
    )


def test_meshes_that_cross_are_sorted_by_pixel(renderer):
    left = _sphere([-0.1, 0.0, 2.0], 0.2, RED)
    right = _sphere([0.1, 0.0, 2.0], 0.2, BLUE)
    drawn = renderer.draw(_noise(), [left, right], CAMERA).astype(int)
    x, y = round(CAMERA.center_px[0]), round(CAMERA.center_px[1])
    assert drawn[y, x - 5, 0] > drawn[y, x - 5, 2]
    assert drawn[y, x + 5, 2] > drawn[y, x + 5, 0]


@pytest.mark.parametrize("upright", [True, False])
def test_planes_cross_where_their_depths_do(renderer, upright):
    camera = PinholeCamera(focal_length_px=300.0, center_px=(75.0, 75.0), source="option")
    flat = _rectangle(10, 10, 140, 140, depth=2.0, camera=camera)
    # 1 / depth falls evenly from 1/1.6 to 1/2.4 between 20 and 120: it is 1/2 at 80
    tilted = _rectangle(20, 20, 120, 120, depth=1.0, camera=camera).vertices_cam
    axis = 1 if upright else 0
    depths = np.where(tilted[:, axis] < 0, 1.6, 2.4).astype(np.float32)[:, None]
    tilted = MeshInstance(vertices_cam=tilted * depths, faces=flat.faces, color_rgb=RED)
    image = np.zeros((150, 150, 3), np.uint8)
    drawn, of_flat, of_tilted = (
        np.moveaxis(renderer.draw(image, meshes, camera), axis - 1, 0)[:, 30:110].astype(int)
        for meshes in ([flat, tilted], [flat], [tilted])
    )
    np.testing.assert_allclose(drawn[20:80], of_tilted[20:80], atol=1)
    np.testing.assert_allclose(drawn[80:140], of_flat[80:140], atol=1)


def test_opacity_mixes_image_and_meshes(renderer):
    image = _noise()
    mesh = _sphere([0.0, 0.0, 2.0])
    opaque = renderer.draw(image, [mesh], CAMERA)
    half = renderer.draw(image, [mesh], CAMERA, opacity=0.5)
    np.testing.assert_array_equal(renderer.draw(image, [mesh], CAMERA, opacity=0.0), image)
    np.testing.assert_allclose(half, (image.astype(float) + opaque) / 2, atol=1.5)


def test_nothing_but_the_mesh_is_touched(renderer):
    image = _noise()
    kept = image.copy()
    mesh = _sphere([0.0, 0.0, 2.0], 0.1)
    drawn = renderer.draw(image, [mesh], CAMERA)
    np.testing.assert_array_equal(image, kept)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    distance = np.hypot(columns - CAMERA.center_px[0], rows - CAMERA.center_px[1])
    mask = _changed(image, drawn)
    assert not mask[distance > 17].any()  # its radius in the picture is 15
    assert mask[distance < 14].all()


@pytest.mark.parametrize(
    "mesh",
    [
        pytest.param(_sphere([5.0, 0.0, 3.0]), id="beside the image"),
        pytest.param(_sphere([0.0, -4.0, 3.0]), id="above the image"),
        pytest.param(_sphere([0.0, 0.0, -3.0]), id="behind the camera"),
        pytest.param(_sphere([0.0, 0.0, 0.0], 0.04), id="nearer than the near plane"),
    ],
)
def test_what_is_out_of_view_leaves_the_image_alone(renderer, mesh):
    image = _noise()
    np.testing.assert_array_equal(renderer.draw(image, [mesh], CAMERA), image)
    np.testing.assert_array_equal(renderer.draw(image, [], CAMERA), image)


def test_a_mesh_across_the_border_is_cut_there(renderer):
    mesh = _sphere([-0.65, 0.0, 2.0], 0.3)
    image = _noise()
    box = _projected_box(mesh)
    assert box[0] < 0 < box[2]
    mask = _changed(image, renderer.draw(image, [mesh], CAMERA))
    np.testing.assert_allclose(_box(mask), np.maximum(box, 0), atol=2)


def test_a_body_around_the_camera_draws_what_lies_in_front(renderer, renderers):
    # arms and head before the lens, the rest beside and behind it
    body = _body(offset=(0.0, 0.0, 0.15), turn=1.2)
    assert (body.vertices_cam[:, 2] < 0).any()
    assert (body.vertices_cam[:, 2] > 0.3).any()
    image = _noise()
    drawn = renderer.draw(image, [body], CAMERA)
    assert _changed(image, drawn).any()
    reference = renderers("numpy").draw(image, [body], CAMERA)
    assert np.abs(drawn.astype(int) - reference).mean() < 0.1


def test_wireframe_draws_less_and_nothing_outside_the_surface(renderer):
    image = _noise()
    mesh = _sphere([0.0, 0.0, 2.0], 0.3, num=12)
    filled = _changed(image, renderer.draw(image, [mesh], CAMERA))
    lines = _changed(image, renderer.draw(image, [mesh], CAMERA, wireframe=True))
    assert 0.1 < lines.sum() / filled.sum() < 0.8
    assert (lines & ~filled).sum() <= 0.02 * filled.sum()


def test_wireframe_hides_lines_behind_surfaces(renderer):
    image = _noise()
    front = _rectangle(60, 40, 140, 110)
    behind = _sphere([0.0, 0.0, 3.0], 0.3, num=12)  # all of it behind the rectangle
    alone = renderer.draw(image, [front], CAMERA, wireframe=True)
    both = renderer.draw(image, [front, behind], CAMERA, wireframe=True)
    np.testing.assert_array_equal(alone, both)


def test_faces_seen_from_behind_are_not_drawn(renderer):
    front = _rectangle(60, 40, 140, 110)
    back = MeshInstance(
        vertices_cam=front.vertices_cam, faces=front.faces[:, ::-1], color_rgb=front.color_rgb
    )
    image = _noise()
    np.testing.assert_array_equal(renderer.draw(image, [back], CAMERA), image)


def test_image_size_may_change_between_frames(renderer):
    mesh = _sphere([0.0, 0.0, 2.0], 0.5)
    first = renderer.draw(_noise(), [mesh], CAMERA)
    wide = PinholeCamera(focal_length_px=900.0, center_px=(320.0, 180.0), source="option")
    image = _noise(641, 361)
    mask = _changed(image, renderer.draw(image, [mesh], wide))
    np.testing.assert_allclose(
        _box(mask), np.clip(_projected_box(mesh, wide), 0, [641, 361, 641, 361]), atol=4
    )  # the outline of a ball lies a little outside its vertices' greatest circle
    np.testing.assert_array_equal(renderer.draw(_noise(), [mesh], CAMERA), first)


def test_light_gives_relief(renderer):
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    drawn = renderer.draw(image, [_sphere([0.0, 0.0, 2.0], 0.3, (1.0, 1.0, 1.0))], CAMERA)
    x, y = round(CAMERA.center_px[0]), round(CAMERA.center_px[1])
    upper, lower = drawn[y - 30, x, 0], drawn[y + 30, x, 0]
    assert upper > 1.3 * lower  # lit from above
    assert lower > 40  # and still to be seen below


def test_draws_in_another_thread(renderer):
    results = []
    expected = renderer.draw(_noise(), [_sphere([0.0, 0.0, 2.0])], CAMERA)
    thread = threading.Thread(
        target=lambda: results.append(renderer.draw(_noise(), [_sphere([0.0, 0.0, 2.0])], CAMERA))
    )
    thread.start()
    thread.join()
    np.testing.assert_array_equal(results[0], expected)


@pytest.mark.parametrize("name", NAMES)
def test_closing_one_renderer_leaves_others_alive(name):
    first, second = _open(name), _open(name)
    first.close()
    drawn = second.draw(_noise(), [_sphere([0.0, 0.0, 2.0])], CAMERA)
    second.close()
    assert _changed(_noise(), drawn).any()


def test_numpy_works_in_batches_without_a_trace(renderers, monkeypatch):
    meshes = [_body(), _sphere([0.15, 0.1, 3.6], color=RED)]
    whole = renderers("numpy").draw(_noise(), meshes, CAMERA)
    monkeypatch.setattr(software_renderer, "_MAX_BATCH", 501)
    np.testing.assert_array_equal(renderers("numpy").draw(_noise(), meshes, CAMERA), whole)


def test_auto_takes_the_next_when_one_cannot_draw(monkeypatch, caplog):
    def broken() -> Renderer:
        raise AttributeError("'NoneType' object has no attribute 'glGetError'")

    monkeypatch.setattr(rendering, "_GPU_NODES", ("dev/null",))
    monkeypatch.setitem(rendering._OPENERS, "egl", broken)
    monkeypatch.setitem(rendering._OPENERS, "numba", broken)
    with caplog.at_level(logging.DEBUG, logger=rendering.__name__):
        assert make_renderer("auto").name == "numpy"
    assert "glGetError" in caplog.text
    with pytest.raises(RenderError, match=r"glGetError.*apt-get install.*libegl1 libgl1"):
        make_renderer("egl")


@pytest.mark.parametrize(
    ("driver", "taken"), [("NVIDIA A100", True), ("llvmpipe (LLVM 15.0.6, 256 bits)", False)]
)
def test_auto_takes_gl_only_from_a_gpu(monkeypatch, tmp_path, driver, taken):
    class Drawing(software_renderer.SoftwareRenderer):
        def __init__(self):
            super().__init__(compiled=False)
            self.name = f"pyrender/EGL ({driver})"

    monkeypatch.setitem(rendering._OPENERS, "egl", Drawing)
    monkeypatch.setattr(rendering, "_GPU_NODES", (str(tmp_path.relative_to("/") / "gpu*"),))
    assert make_renderer("auto").name in ("numba", "numpy")  # no GPU, so GL is not even tried
    (tmp_path / "gpu0").touch()
    assert (make_renderer("auto").name == f"pyrender/EGL ({driver})") == taken
    assert make_renderer("egl").name == f"pyrender/EGL ({driver})"  # asked for, any GL will do


def test_a_renderer_that_draws_nothing_is_not_taken(monkeypatch):
    class Blind:
        name = "blind"
        closed = False

        def draw(self, image, meshes, camera, *, opacity=1.0, wireframe=False):
            return image.copy()

        def close(self):
            self.closed = True

    blind = Blind()
    monkeypatch.setitem(rendering._OPENERS, "egl", lambda: blind)
    with pytest.raises(RenderError, match="blind draws, but not"):
        make_renderer("egl")
    assert blind.closed
    assert make_renderer("auto").name in ("numba", "numpy")


def test_names_tell_the_back_end(renderer):
    assert renderer.name in ("numpy", "numba") or renderer.name.startswith("pyrender/EGL (")
