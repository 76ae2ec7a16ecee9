"""Drawing the way VIBE's demo does: every person in every frame by itself, with pyrender.

As in its ``lib/utils/renderer.py``: a scene with three lights is made once; for each person and
frame a new mesh and a new camera are put into it, drawn at the size of the frame, pasted over it
and taken out again. Lights and flags are the demo's. Its camera is a weak perspective one, which
costs the same. Pasting is cheaper here: the demo multiplies by masks in 64-bit integers.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np
import trimesh
from jaxtyping import Float, Int, UInt8

from dtsvibe_cli.datatypes import PinholeCamera
from dtsvibe_cli.stages.rendering import MeshInstance, Renderer, make_renderer

Picture = UInt8[np.ndarray, "height width 3"]
_LIGHTS_M = ((0.0, -1.0, 1.0), (0.0, 1.0, 1.0), (1.0, 1.0, 2.0))
_COLOR_BGR = (0.75, 0.8, 0.8)


class PersonByPerson:
    """One offscreen renderer and one scene for the video, a new mesh for each person and frame.

    Where no GL library draws, dtsvibe's own renderer draws person by person instead.
    """

    def __init__(self, width_px: int, height_px: int) -> None:
        self._size = width_px, height_px
        self._pyrender: Any = None
        self._own: Renderer | None = None
        try:
            make_renderer("egl").close()
            import pyrender  # after the renderer has made it importable

            self._pyrender = pyrender
        except Exception:  # GL stacks fail with anything
            self._own = make_renderer("auto")
            self.name = f"{self._own.name}, person by person"
        else:
            self._offscreen = self._pyrender.OffscreenRenderer(*self._size, point_size=1.0)
            self._scene = self._lit_scene()
            self.name = "pyrender, person by person"

    def __enter__(self) -> "PersonByPerson":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._own is None:
            self._offscreen.delete()
        else:
            self._own.close()

    def draw(
        self,
        image: Picture,
        bodies: Sequence[Float[np.ndarray, "vertex 3"]],
        faces: Int[np.ndarray, "face 3"],
        camera: PinholeCamera,
    ) -> Picture:
        """The bodies over the image, one after the other; blue first, as OpenCV reads files."""
        for vertices in bodies:
            if self._own is not None:
                mesh = MeshInstance(vertices_cam=vertices, faces=faces, color_rgb=_COLOR_BGR)
                image = self._own.draw(image, [mesh], camera)
            else:
                image = self._draw_one(image, vertices, faces, camera)
        return image

    def _lit_scene(self) -> Any:
        """Three lights, and nobody."""
        scene = self._pyrender.Scene(bg_color=(0, 0, 0, 0), ambient_light=(0.3, 0.3, 0.3))
        light = self._pyrender.PointLight(color=(1, 1, 1), intensity=1.0)
        for place in _LIGHTS_M:
            pose = np.eye(4)
            pose[:3, 3] = place
            scene.add(light, pose=pose)
        return scene

    def _draw_one(
        self,
        image: Picture,
        vertices_cam: Float[np.ndarray, "vertex 3"],
        faces: Int[np.ndarray, "face 3"],
        camera: PinholeCamera,
    ) -> Picture:
        """The scene with a body and a camera, drawn in full and pasted in."""
        pyrender, scene = self._pyrender, self._scene
        # GL looks along -z with y up
        body = trimesh.Trimesh(vertices_cam * [1, -1, -1], faces, process=False)
        material = pyrender.MetallicRoughnessMaterial(
            metallicFactor=0.0, alphaMode="OPAQUE", baseColorFactor=(*_COLOR_BGR, 1.0)
        )
        (cx, cy), focal = camera.center_px, camera.focal_length_px
        eye = pyrender.IntrinsicsCamera(focal, focal, cx, cy, znear=0.05, zfar=1000.0)
        nodes = [scene.add(pyrender.Mesh.from_trimesh(body, material=material)), scene.add(eye)]
        colour, _ = self._offscreen.render(scene, flags=pyrender.RenderFlags.RGBA)
        for node in nodes:
            scene.remove_node(node)
        drawn = colour[..., 3:] > 0
        return np.where(drawn, colour[..., :3], image).astype(np.uint8)
