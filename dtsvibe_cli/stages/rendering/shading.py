"""What every back end draws: meshes joined, lit per vertex, culled, and the region they cover.

Light and culling are decided here, in numpy, so that all back ends give the same picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csc_matrix

from dtsvibe_cli.datatypes import PinholeCamera
from dtsvibe_cli.stages.rendering import MeshInstance

NEAR_M = 0.05
"""Triangles with a vertex nearer to the camera than this are left out."""

# Directions towards the lights (camera axes: x right, y down, z away) and their weights: a soft key
# from above left, a weaker fill from the right, so that limbs keep relief on either side.
_LIGHTS = np.array([[-0.45, -0.75, -0.75], [0.85, -0.15, -0.5]], np.float32)
_LIGHT_WEIGHTS = np.array([0.56, 0.16], np.float32)
_SKY, _GROUND = 0.5, 0.3
_EDGE_DARKENING = 0.35


@dataclass(frozen=True, kw_only=True)
class Region:
    """A rectangle of the image, whole pixels."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class LitScene:
    """All that is to be drawn, as one set of triangles; ``faces`` are those facing the camera."""

    vertices_cam: Float[np.ndarray, "vertex 3"]
    """Metres, camera coordinates."""
    vertices_px: Float[np.ndarray, "vertex 2"]
    """Pixels of the full image; meaningless for vertices that no face uses."""
    colors_rgb: Float[np.ndarray, "vertex 3"]
    """Lit colours, 0 to 1."""
    faces: Int[np.ndarray, "face 3"]
    region: Region
    """The part of the image that the faces can touch."""


def vertex_normals(
    vertices: Float[np.ndarray, "vertex 3"], faces: Int[np.ndarray, "face 3"]
) -> Float[np.ndarray, "vertex 3"]:
    """Unit normals: the faces around each vertex averaged by area; outward for outward faces."""
    corners = np.ascontiguousarray(faces.T)
    # coordinate by coordinate: many times faster than rows of three
    x, y, z = (coordinate.take(corners) for coordinate in np.ascontiguousarray(vertices.T))
    ux, uy, uz = x[1] - x[0], y[1] - y[0], z[1] - z[0]
    vx, vy, vz = x[2] - x[0], y[2] - y[0], z[2] - z[0]
    across = np.stack([uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx], axis=1)
    ends = np.arange(0, corners.size + 1, 3)
    of_faces = csc_matrix(
        (np.ones(corners.size, np.float32), faces.ravel(), ends), (len(vertices), len(faces))
    )
    normals: Float[np.ndarray, "vertex 3"] = of_faces @ across
    normals /= np.sqrt(np.einsum("vc,vc->v", normals, normals))[:, None] + np.float32(1e-12)
    return normals


def light_on(
    normals: Float[np.ndarray, "vertex 3"], vertices_cam: Float[np.ndarray, "vertex 3"]
) -> Float[np.ndarray, " vertex"]:
    """Brightness per vertex: sky and ground, two lights fixed to the camera, darker outlines."""
    directions = _LIGHTS / np.linalg.norm(_LIGHTS, axis=1, keepdims=True)
    # wrapped Lambert: light reaches a little around the edge, as it does on skin
    wrapped = np.maximum((normals @ directions.T + 0.25) / 1.25, 0)
    upward = 0.5 - 0.5 * normals[:, 1]
    ambient = _GROUND + (_SKY - _GROUND) * upward
    distance = np.sqrt(np.einsum("vc,vc->v", vertices_cam, vertices_cam)) + np.float32(1e-9)
    turned_away = 1 - np.clip(-np.einsum("vc,vc->v", normals, vertices_cam) / distance, 0, 1)
    outline = 1 - np.float32(_EDGE_DARKENING) * turned_away * turned_away * turned_away
    brightness: Float[np.ndarray, " vertex"] = (ambient + wrapped @ _LIGHT_WEIGHTS) * outline
    return brightness


def brightness_of(
    vertices_cam: Float[np.ndarray, "vertex 3"], faces: Int[np.ndarray, "face 3"]
) -> Float[np.ndarray, " vertex"]:
    """Brightness of each vertex of a mesh."""
    return light_on(vertex_normals(vertices_cam, faces), vertices_cam)


def _join(
    meshes: Sequence[MeshInstance],
) -> tuple[Float[np.ndarray, "vertex 3"], Int[np.ndarray, "face 3"], Float[np.ndarray, "vertex 3"]]:
    """Vertices, faces and surface colours of all meshes as one."""
    starts = np.cumsum([0, *(len(mesh.vertices_cam) for mesh in meshes)])
    vertices = np.concatenate([mesh.vertices_cam for mesh in meshes]).astype(np.float32)
    faces = np.concatenate(
        [mesh.faces.astype(np.intp) + start for mesh, start in zip(meshes, starts, strict=False)]
    )
    colors = np.concatenate(
        [
            np.tile(np.array(mesh.color_rgb, np.float32), (len(mesh.vertices_cam), 1))
            for mesh in meshes
        ]
    )
    return vertices, faces, colors


def _lowest(corners: Float[np.ndarray, "3 face"]) -> Float[np.ndarray, " face"]:
    """Of three corners; many times faster than numpy's own minimum over so short an axis."""
    lowest: Float[np.ndarray, " face"] = np.minimum(np.minimum(corners[0], corners[1]), corners[2])
    return lowest


def _highest(corners: Float[np.ndarray, "3 face"]) -> Float[np.ndarray, " face"]:
    highest: Float[np.ndarray, " face"] = np.maximum(np.maximum(corners[0], corners[1]), corners[2])
    return highest


def light_scene(
    meshes: Sequence[MeshInstance], camera: PinholeCamera, image_width: int, image_height: int
) -> LitScene | None:
    """The meshes lit and culled for one image, or None when nothing of them is in view."""
    if not meshes:
        return None
    vertices, faces, colors = _join(meshes)
    depth = np.maximum(vertices[:, 2:], np.float32(NEAR_M))
    pixels = vertices[:, :2] / depth * np.float32(camera.focal_length_px) + np.array(
        camera.center_px, np.float32
    )
    all_corners = np.ascontiguousarray(faces.T)
    x, y = (coordinate.take(all_corners) for coordinate in np.ascontiguousarray(pixels.T))
    twice_area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
    # counter-clockwise seen from outside, with y down
    facing = np.flatnonzero(twice_area < -1e-9)
    corners, x, y = (values.take(facing, axis=1) for values in (all_corners, x, y))
    drawn = (
        (_lowest(np.ascontiguousarray(vertices[:, 2]).take(corners)) >= NEAR_M)
        & (_highest(x) > 0) & (_lowest(x) < image_width)
        & (_highest(y) > 0) & (_lowest(y) < image_height)
    )  # fmt: skip
    if not drawn.any():
        return None
    x, y = x[:, drawn], y[:, drawn]
    left, top = max(0, int(np.floor(x.min()))), max(0, int(np.floor(y.min())))
    right = min(image_width, int(np.ceil(x.max())))
    bottom = min(image_height, int(np.ceil(y.max())))
    brightness = np.concatenate(
        [
            brightness_of(mesh.vertices_cam, mesh.faces)
            if mesh.brightness is None
            else mesh.brightness
            for mesh in meshes
        ]
    )
    return LitScene(
        vertices_cam=vertices,
        vertices_px=pixels,
        colors_rgb=np.minimum(colors * brightness[:, None], 1).astype(np.float32),
        faces=faces[facing[drawn]],
        region=Region(left=left, top=top, width=right - left, height=bottom - top),
    )
