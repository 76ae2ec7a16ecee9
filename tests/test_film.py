"""Drawn people: repeatable, where the truth says, with exact motion."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dtsvibe_cli.landmarks import LandmarkRegressor
from dtsvibe_cli.smpl import BodyModel
from dtsvibe_cli.smpl_files import load_body_model
from dtsvibe_cli.synthetic.camera_work import film, random_shot
from dtsvibe_cli.synthetic.dressing import dress_person
from dtsvibe_cli.synthetic.film import Actor, Film, draw_frame, exact_flow, is_hidden
from dtsvibe_cli.synthetic.lens import Footage
from dtsvibe_cli.synthetic.outfit import random_outfit
from dtsvibe_cli.synthetic.places import Place, light_of, made_up_place, make_backdrop
from dtsvibe_cli.synthetic.props import Prop
from dtsvibe_cli.synthetic.render import project

pytest.importorskip("numba")

FRAMES = 3
FOOTAGE = Footage(
    exposure=1.0,
    white_balance=(1.0, 1.0, 1.0),
    contrast=1.0,
    saturation=1.0,
    softness_px=0.0,
    shutter=0.0,
    noise=0.0,
    jpeg_quality=None,
    shrink=1.0,
)


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return load_body_model()


def _moving_film(body: BodyModel, seed: int = 0) -> tuple[Film, np.ndarray]:
    """Somebody who slides to the side before a shaking camera; the film and the world landmarks."""
    rng = np.random.default_rng(seed)
    person = dress_person(body, np.zeros(10), random_outfit(rng), rng)
    pose = torch.eye(3).expand(FRAMES, 24, 3, 3)
    betas = torch.zeros(FRAMES, 10)
    posed = body.pose(pose, betas)
    slide = np.arange(FRAMES)[:, None, None] * [0.05, 0.0, 0.02] + [0.0, 1.2, 0.0]
    vertices = person.vertices(posed).numpy() + slide
    landmarks = LandmarkRegressor(body)(posed, betas).detach().numpy() + slide
    shot = replace(
        random_shot(rng), size=(96, 128), person_px=100.0, yaw=0.4, pitch=0.1, zoom=0.1, shake=1.0,
        manner="still", diagonal_fov_deg=50.0,
    )  # fmt: skip
    cameras = film(shot, landmarks[:, 23], 30.0, rng)
    place = made_up_place(rng)
    return Film(
        actors=(Actor(person=person, vertices=vertices.astype(np.float32)),),
        cameras=cameras,
        backdrop=make_backdrop(place, cameras, shot.size, rng),
        props=(),
        light=light_of(place, rng),
        footage=FOOTAGE,
        size=shot.size,
        shadow=0.3,
        seed=seed,
    ), landmarks


def test_a_frame_is_a_function_of_the_film_and_its_index(body: BodyModel) -> None:
    first, again, other = (_moving_film(body, seed)[0] for seed in (1, 1, 2))
    picture = draw_frame(first, 2).rgb
    np.testing.assert_array_equal(picture, draw_frame(again, 2).rgb)
    assert (picture != draw_frame(other, 2).rgb).mean() > 0.2


def test_landmarks_lie_on_the_silhouette(body: BodyModel) -> None:
    scene, landmarks = _moving_film(body)
    frame, camera = draw_frame(scene, 1), scene.cameras[1]
    at = project(landmarks[1] @ camera.R.T + camera.t, camera.K)
    covered = frame.samples.face >= 0
    inside = ((at >= 0) & (at < scene.size)).all(1)
    assert inside.sum() > 25
    x, y = (at[inside] * 2).astype(int).T
    assert covered[y, x].mean() > 0.9  # a heel and a toe may lie a pixel beside it
    assert 0.05 < covered.mean() < 0.6


def test_flow_of_people_is_the_motion_of_their_projected_points(body: BodyModel) -> None:
    scene, _ = _moving_film(body)
    frame = draw_frame(scene, 2)
    flow = exact_flow(scene, 2, frame)
    seen = []
    for k in (2, 1):
        camera, vertices = scene.cameras[k], scene.actors[0].vertices[k]
        points = vertices @ camera.R.T + camera.t
        seen.append((project(points, camera.K), points[:, 2]))
    (now, depth), (before, _) = seen
    pixel = now.astype(int)
    surface = 1 / np.maximum(
        frame.samples.inverse_depth[
            np.clip(pixel[:, 1] * 2 + 1, 0, 255), np.clip(pixel[:, 0] * 2 + 1, 0, 191)
        ],
        1e-6,
    )
    there = (np.abs(surface - depth) < 0.01) & (pixel >= 0).all(1) & (pixel < scene.size).all(1)
    assert there.sum() > 200
    moved = flow[pixel[there, 1], pixel[there, 0]]
    assert np.percentile(np.abs(moved - (now - before)[there]), 95) < 0.25


def test_flow_of_the_place_carries_one_picture_to_the_next(body: BodyModel) -> None:
    scene, _ = _moving_film(body)
    empty = replace(scene, actors=(), shadow=0.0)
    frame = draw_frame(empty, 2)
    flow = exact_flow(empty, 2, frame)
    assert np.abs(flow).max() > 0.3
    matrix = empty.backdrop.homography(empty.cameras[1]) @ np.linalg.inv(
        empty.backdrop.homography(empty.cameras[2])
    )
    x, y = 40.5, 70.5
    there = matrix @ [x, y, 1]
    np.testing.assert_allclose(flow[70, 40], [x, y] - there[:2] / there[2], atol=1e-9)
    assert not exact_flow(empty, 0, frame).any()


def test_what_is_behind_something_or_outside_is_hidden(body: BodyModel) -> None:
    scene, landmarks = _moving_film(body)
    camera = scene.cameras[1]
    points = landmarks[1] @ camera.R.T + camera.t
    deep = np.full(33, 0.1)
    free = is_hidden(scene, draw_frame(scene, 1), points, 1, deep)
    assert not free[[11, 12, 25, 26]].any()  # shoulders and knees of somebody who faces the camera
    middle = camera.centre + camera.R[2] * 1.0
    right, up = camera.R[0] * 2, -camera.R[1] * 2
    wall = Prop(
        corners=np.stack([middle - right + up, middle + right + up, middle - right - up,
                          middle + right - up]),
        texture=np.ones((128, 128, 4), np.float32),
    )  # fmt: skip
    walled = replace(scene, props=(wall,))
    assert is_hidden(walled, draw_frame(walled, 1), points, 1, deep).all()
    outside = points + np.array([5.0, 0, 0])
    assert is_hidden(scene, draw_frame(scene, 1), outside, 1, deep).all()
    far = points + np.array([0, 0, 1.0])  # the same directions, a metre behind the skin
    far[:, :2] *= far[:, 2:] / points[:, 2:]
    assert is_hidden(scene, draw_frame(scene, 1), far, 1, deep)[[11, 12, 25, 26]].all()


def test_a_panorama_lights_people_from_where_it_is_bright() -> None:
    picture = np.full((64, 128, 3), 0.1, np.float32)
    picture[8:20, 60:70] = [50.0, 5.0, 5.0]  # high up ahead (-z)
    light = light_of(
        Place(name="lamp", picture=picture, is_panorama=True), np.random.default_rng(0)
    )
    basis = {
        "ahead": [1, 0, -1, 0, 0, 0, 2, 0, 0],
        "behind": [1, 0, 1, 0, 0, 0, 2, 0, 0],
    }
    ahead, behind = (np.array(row) @ light.ambient for row in basis.values())
    assert ahead[0] > 3 * max(behind[0], 0.01)
    assert ahead[0] > 3 * ahead[1]


def test_outfits_differ_and_dress_every_shape(body: BodyModel) -> None:
    outfits = [random_outfit(np.random.default_rng(seed)) for seed in range(40)]
    assert len({outfit.skin for outfit in outfits}) > 30
    assert {outfit.hair_style for outfit in outfits} >= {"short", "long", "bald", "cap"}
    assert any(outfit.skirt_hem_m is not None for outfit in outfits)
    for seed, size in ((0, -2.0), (1, 2.0)):
        rng = np.random.default_rng(seed)
        outfit = replace(outfits[seed], skirt_hem_m=-0.7, hair_style="long")
        person = dress_person(body, np.full(10, size), outfit, rng)
        vertices = person.skin.v_template.numpy()
        assert np.isfinite(vertices).all()
        assert len(vertices) > len(body.v_template)
        weights = person.skin.weights.numpy()
        np.testing.assert_allclose(weights.sum(1), 1, atol=1e-3)
        assert (weights >= 0).all()
        assert 0 <= person.texture.min() <= person.texture.max() <= 1
        assert person.faces.max() < len(vertices)
