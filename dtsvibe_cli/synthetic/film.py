"""Puts dressed people, place, camera and things in front together, and draws frame after frame.

Every frame comes with what is exactly true of it: where each point of each person is, what hides
it, and how each pixel has moved since the frame before.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from dtsvibe_cli.synthetic.dressing import DressedPerson
from dtsvibe_cli.synthetic.fast_render import (
    NEAR_M,
    Light,
    Samples,
    add_mesh,
    empty_samples,
    shade,
    vertex_normals,
)
from dtsvibe_cli.synthetic.lens import Footage, develop
from dtsvibe_cli.synthetic.places import Backdrop, Camera
from dtsvibe_cli.synthetic.props import Prop

OVERSAMPLING: Final = 2
_BLUR_STEPS: Final = 3
_HIDDEN_COVER: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class Actor:
    """A dressed person in motion."""

    person: DressedPerson
    vertices: Float[np.ndarray, "frame vertex 3"]
    """World coordinates, metres."""


@dataclass(frozen=True, kw_only=True)
class Film:
    """All that is needed to draw any frame."""

    actors: tuple[Actor, ...]
    cameras: list[Camera]
    backdrop: Backdrop
    props: tuple[Prop, ...]
    light: Light
    footage: Footage
    size: tuple[int, int]
    """Width and height, pixels."""
    shadow: float
    """How much darker the floor (y = 0) is below people, 0 to 1; 0 for no floor."""
    seed: int


@dataclass(frozen=True, kw_only=True)
class FilmedFrame:
    """One frame and what is true of it."""

    rgb: UInt8[np.ndarray, "height width 3"]
    samples: Samples
    """Which face of which person is seen; faces count through all actors."""
    cover: Float[np.ndarray, "height width"]
    """How much of each pixel things in front of the people hide, 0 to 1."""


def draw_frame(film: Film, index: int) -> FilmedFrame:
    """One frame; a function of the film and the index alone."""
    width, height = film.size
    camera = film.cameras[index]
    rng = np.random.default_rng((film.seed, index))
    samples = _see(film, index, 0.0)
    light = film.backdrop.draw(camera, film.size)
    light = _shadowed(film, index, light)
    people = _people(film, index, samples, 0.0)
    if film.footage.shutter > 0 and index > 0:
        # light is taken in while things move: the mean of a few moments before the frame
        for step in range(1, _BLUR_STEPS):
            back = film.footage.shutter * step / (_BLUR_STEPS - 1)
            earlier = _see(film, index, back)
            people = people + _people(film, index, earlier, back)
        people = people / _BLUR_STEPS
    small = cv2.resize(people, (width, height), interpolation=cv2.INTER_AREA)
    light = light * (1 - small[..., 3:]) + small[..., :3]
    cover = np.zeros((height, width), np.float32)
    for prop in film.props:
        layer = prop.draw(camera, film.size)
        if layer is not None:
            light = light * (1 - layer[..., 3:]) + layer[..., :3]
            cover = np.maximum(cover, layer[..., 3])
    return FilmedFrame(rgb=develop(light, film.footage, rng), samples=samples, cover=cover)


def _moment(film: Film, actor: Actor, index: int, back: float) -> Float[np.ndarray, "vertex 3"]:
    """An actor's vertices before the camera, ``back`` frames ago."""

    def seen(k: int) -> Float[np.ndarray, "vertex 3"]:
        camera = film.cameras[k]
        return np.asarray(actor.vertices[k] @ camera.R.T + camera.t)

    now = seen(index)
    return now if back == 0 else np.asarray(now + back * (seen(index - 1) - now))


def _project(
    points: Float[np.ndarray, "point 3"], K: Float[np.ndarray, "3 3"]
) -> Float[np.ndarray, "point 2"]:
    depth = np.maximum(points[:, 2:], NEAR_M / 2)
    return np.asarray(points[:, :2] / depth * K[0, 0] + K[:2, 2])


def _see(film: Film, index: int, back: float) -> Samples:
    width, height = film.size
    samples = empty_samples(height * OVERSAMPLING, width * OVERSAMPLING)
    first = 0
    for actor in film.actors:
        points = _moment(film, actor, index, back)
        at = _project(points, film.cameras[index].K) * OVERSAMPLING
        add_mesh(samples, at, points[:, 2], actor.person.faces, first)
        first += len(actor.person.faces)
    return samples


def _people(
    film: Film, index: int, samples: Samples, back: float
) -> Float[np.ndarray, "rows columns 4"]:
    colours = np.zeros((*samples.face.shape, 4), np.float32)
    camera = film.cameras[index]
    first = 0
    for actor in film.actors:
        person = actor.person
        normals = vertex_normals(actor.vertices[index], person.faces)
        shade(
            samples,
            normals,
            person.faces,
            person.corner_uv_px,
            person.texture,
            film.light,
            -camera.R[2],
            first,
            colours,
        )
        first += len(person.faces)
    return colours


def _shadowed(
    film: Film, index: int, light: Float[np.ndarray, "height width 3"]
) -> Float[np.ndarray, "height width 3"]:
    """The place with soft shadows below people: each body pressed flat along the light."""
    if film.shadow == 0:
        return light
    width, height = film.size
    camera = film.cameras[index]
    sun = film.light.sun_direction
    samples = empty_samples(height // 2, width // 2)
    for actor in film.actors:
        world = actor.vertices[index].copy()
        world -= np.clip(world[:, 1:2], 0, None) / max(float(sun[1]), 0.25) * sun
        world[:, 1] = 0.0
        points = world @ camera.R.T + camera.t
        add_mesh(samples, _project(points, camera.K) / 2, points[:, 2], actor.person.faces)
    mask = (samples.face >= 0).astype(np.float32)
    soft = cv2.GaussianBlur(mask, (0, 0), max(1.0, height / 120))
    soft = cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(light * (1 - np.float32(film.shadow) * soft[..., None]))


def exact_flow(film: Film, index: int, frame: FilmedFrame) -> Float[np.ndarray, "height width 2"]:
    """How far what is seen at each pixel's centre came since the frame before, pixels.

    Of things in front of people: those of the last one drawn. Zeros in the first frame.
    """
    width, height = film.size
    flow: Float[np.ndarray, "height width 2"] = np.zeros((height, width, 2))
    if index == 0:
        return flow
    now, before = film.cameras[index], film.cameras[index - 1]
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    here = np.stack([x, y], -1)
    to_before = film.backdrop.homography(before) @ np.linalg.inv(film.backdrop.homography(now))
    flow[:] = here - _mapped(to_before, here)
    _flow_of_people(film, index, frame, here, flow)
    for prop in film.props:
        first, second = prop.homography(before), prop.homography(now)
        layer = prop.draw(now, film.size)
        if first is None or second is None or layer is None:
            continue
        moved = here - _mapped(first @ np.linalg.inv(second), here)
        flow[layer[..., 3] > _HIDDEN_COVER] = moved[layer[..., 3] > _HIDDEN_COVER]
    return flow


def _mapped(
    matrix: Float[np.ndarray, "3 3"], points: Float[np.ndarray, "height width 2"]
) -> Float[np.ndarray, "height width 2"]:
    there = points @ matrix[:, :2].T + matrix[:, 2]
    placed: Float[np.ndarray, "height width 2"] = there[..., :2] / there[..., 2:]
    return placed


def _flow_of_people(
    film: Film,
    index: int,
    frame: FilmedFrame,
    here: Float[np.ndarray, "height width 2"],
    flow: Float[np.ndarray, "height width 2"],
) -> None:
    """The motion of the surface points that are seen, written over ``flow``."""
    offset = OVERSAMPLING // 2  # the sample just beyond each pixel's centre
    face = frame.samples.face[offset::OVERSAMPLING, offset::OVERSAMPLING]
    weight = frame.samples.weight[offset::OVERSAMPLING, offset::OVERSAMPLING]
    first = 0
    for actor in film.actors:
        faces = actor.person.faces
        own = (face >= first) & (face < first + len(faces))
        corners = faces[face[own] - first]
        share = weight[own]
        share = np.concatenate([share, 1 - share.sum(1, keepdims=True)], 1)[..., None]
        places = []
        for k in (index, index - 1):
            points = _moment(film, actor, k, 0.0)
            places.append(_project((points[corners] * share).sum(1), film.cameras[k].K))
        flow[own] = places[0] - places[1]
        first += len(faces)


def is_hidden(
    film: Film,
    frame: FilmedFrame,
    points_cam: Float[np.ndarray, "point 3"],
    index: int,
    depth_inside_m: Float[np.ndarray, " point"],
) -> Bool[np.ndarray, " point"]:
    """Which points of a person are out of the picture, or behind something.

    ``depth_inside_m`` says how far below the skin each point may lie: only what is nearer than that
    hides it.
    """
    width, height = film.size
    at = _project(points_cam, film.cameras[index].K)
    inside = (at >= 0).all(1) & (at < [width, height]).all(1) & (points_cam[:, 2] > NEAR_M)
    column = np.clip(at[:, 0], 0, width - 1e-3)
    row = np.clip(at[:, 1], 0, height - 1e-3)
    nearest = frame.samples.inverse_depth[
        (row * OVERSAMPLING).astype(int), (column * OVERSAMPLING).astype(int)
    ]
    surface = 1 / np.maximum(nearest, 1e-6)
    behind = surface < points_cam[:, 2] - depth_inside_m
    covered = frame.cover[row.astype(int), column.astype(int)] > _HIDDEN_COVER
    return np.asarray(~inside | behind | covered)
