"""The cheap stage: what the stages before the network would see, simulated from the body alone.

Landmarks are projected and corrupted, flow is drawn from vertex motion: no image is needed, and
every batch is new. A batch is a function of its seed, so training resumes exactly.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dtsvibe_cli.landmarks import LandmarkRegressor
from dtsvibe_cli.models.backbone import landmark_features
from dtsvibe_cli.smpl import BodyModel
from dtsvibe_cli.training.batches import TrainingBatch
from dtsvibe_cli.training.flow_simulation import CameraMotion, draw_camera_motion, splat_flow
from dtsvibe_cli.training.motion_bank import MotionBank
from dtsvibe_cli.training.observation_noise import HIPS, add_noise
from dtsvibe_cli.training.windows import CleanWindows, draw_windows

NUM_FLOW_VERTICES: Final = 400


class Simulator:
    """Draws training batches for one body model."""

    def __init__(self, bank: MotionBank, body: BodyModel, *, window: int, flow_side: int) -> None:
        self.bank = bank
        self.body = body
        self.window = window
        self.flow_side = flow_side
        self.landmarks_of = LandmarkRegressor(body)
        spread = np.random.default_rng(0).permutation(len(body.v_template))[:NUM_FLOW_VERTICES]
        self.flow_vertices = torch.from_numpy(np.sort(spread))

    def batch(self, size: int, seed: int, *, vary: bool = True) -> TrainingBatch:
        """One batch; the same for the same seed. ``vary`` off: recorded motion as it is."""
        rng = np.random.default_rng(seed)
        clean = draw_windows(self.bank, size, self.window, rng, vary=vary)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        with torch.no_grad():
            return self._observe(clean, generator)

    def _observe(self, clean: CleanWindows, generator: torch.Generator) -> TrainingBatch:
        windows, time = clean.full_pose.shape[:2]
        pose = clean.full_pose.flatten(0, 1)
        betas = clean.betas.repeat_interleave(time, 0)
        posed = self.body.pose(pose, betas)
        view = _View(
            pelvis_m=posed.joints[:, :1],
            distance_m=clean.distance_m.repeat_interleave(time)[:, None],
            shape=(windows, time),
        )
        image = view.project(self.landmarks_of(posed, betas))
        crops = _random_crops(image, generator)
        noisy = add_noise(crops.coordinates(image), self._world(pose, windows), generator)
        features = landmark_features(
            noisy.landmarks, noisy.visibility, noisy.world_m, noisy.keypoints
        )
        vertices = self.body.skin(posed, betas, vertex_ids=self.flow_vertices)
        flow, camera = self._flow(vertices, clean.root_step_m, view, crops, generator)
        valid = _seen_frames(windows, time, generator)
        return TrainingBatch(
            appearance=features * valid[..., None],
            flow=flow * valid[..., None, None, None],
            to_crop_before=_to_crop_before(clean, crops, camera),
            valid=valid,
            full_pose=clean.full_pose,
            betas=clean.betas,
            has_smpl=torch.ones_like(valid),
            joints_m=(posed.joints - view.pelvis_m).unflatten(0, (windows, time)),
            joints_m_weight=torch.ones(windows, time, 24),
            joints_crop=crops.coordinates(view.project(posed.joints)),
            joints_crop_weight=torch.ones(windows, time, 24),
        )

    def _world(
        self, pose: Float[Tensor, "frame 24 3 3"], windows: int
    ) -> Float[Tensor, "window time 33 3"]:
        """World landmarks as BlazePose gives them: the same limb lengths for everybody."""
        mean = torch.zeros(len(pose), 10)
        world = self.landmarks_of(self.body.pose(pose, mean), mean)
        world = world - world[:, HIPS].mean(1, keepdim=True)
        in_windows: Tensor = world.unflatten(0, (windows, -1))
        return in_windows

    def _flow(
        self,
        vertices: Float[Tensor, "frame vertex 3"],
        root_step_m: Float[Tensor, "window time 3"],
        view: "_View",
        crops: "_Crops",
        generator: torch.Generator,
    ) -> tuple[Float[Tensor, "window time 2 side side"], CameraMotion]:
        """Flow into each frame: where its vertices are, and where they were the frame before."""
        relative = (vertices - view.pelvis_m).unflatten(0, view.shape)
        before = torch.cat([relative[:, :1], relative[:, :-1]], 1) - root_step_m[:, :, None]
        now = view.project(vertices)
        then = view.project(before.flatten(0, 1) + view.pelvis_m)
        side = crops.side[..., None, None]
        moved = (now - then) / side
        # a real first frame has no flow, but a window cut from a longer track has
        starts = torch.rand(len(now), 1, 1, generator=generator) < 0.15
        moved[:, 0] = torch.where(starts, 0.0, moved[:, min(1, now.shape[1] - 1)])
        at = (now - crops.middle[:, :, None]) / side + 0.5
        depth = vertices[..., 2].unflatten(0, view.shape)
        camera = draw_camera_motion(*view.shape, generator)
        return splat_flow(at, depth, moved, camera, self.flow_side, generator), camera


@dataclass(frozen=True, kw_only=True)
class _View:
    """The imagined camera of every frame, focal length one: it looks straight at the pelvis."""

    pelvis_m: Float[Tensor, "frame 1 3"]
    distance_m: Float[Tensor, "frame 1"]
    shape: tuple[int, int]
    """Windows and frames in each."""

    def project(self, points: Float[Tensor, "frame point 3"]) -> Float[Tensor, "..."]:
        """Image coordinates, (window, time, point, 2)."""
        seen = points - self.pelvis_m
        depth = (seen[..., 2] + self.distance_m)[..., None]
        image: Tensor = (seen[..., :2] / depth.clamp_min(0.3)).unflatten(0, self.shape)
        return image


@dataclass(frozen=True, kw_only=True)
class _Crops:
    """Squares around the person, in image coordinates."""

    middle: Float[Tensor, "window time 2"]
    side: Float[Tensor, "window time"]

    def coordinates(
        self, image: Float[Tensor, "window time point 2"]
    ) -> Float[Tensor, "window time point 2"]:
        """Crop coordinates, [-1, 1] over the square."""
        return (image - self.middle[:, :, None]) / self.side[..., None, None] * 2


def _to_crop_before(
    clean: CleanWindows, crops: _Crops, camera: CameraMotion
) -> Float[Tensor, "window time 2 3"]:
    """From each frame's crop coordinates to those of the crop before: a scale and a shift.

    First the picture moves by the camera's own motion, then the imagined camera turns back to where
    the person was, then the other crop is cut.
    """
    distance = clean.distance_m[:, None]
    nearer = distance / (distance + clean.root_step_m[..., 2]).clamp_min(0.3)
    turned = clean.root_step_m[..., :2] / distance[..., None]
    side, middle = crops.side[..., None], crops.middle
    before = [torch.cat([x[:, :1], x[:, :-1]], 1) for x in (side, middle)]
    zoom = (1 + 2 * camera.zoom)[:, None, None]
    scale = zoom * side * nearer[..., None] / before[0]
    place = (middle + side * camera.pan + turned) * nearer[..., None]
    shift = (place - before[1]) / before[0] * 2
    step = torch.cat([scale[..., None] * torch.eye(2), shift[..., None]], -1)
    step[:, 0] = torch.eye(2, 3)
    return step


def _random_crops(image: Float[Tensor, "window time 33 2"], generator: torch.Generator) -> _Crops:
    """A square around the person, off by a little and for a while."""
    windows, time = image.shape[:2]
    low, high = image.amin(2), image.amax(2)
    extent = (high - low).amax(-1)
    smooth = 0.5 * extent + 0.5 * extent.mean(1, keepdim=True)
    side = smooth * (1.15 + 0.5 * torch.rand(windows, 1, generator=generator))
    wander = torch.randn(windows, 2, 2, generator=generator) * 0.05
    along = torch.linspace(0, 1, time)[None, :, None]
    off = wander[:, :1] * (1 - along) + wander[:, 1:] * along
    return _Crops(middle=(low + high) / 2 + off * side[..., None], side=side)


def _seen_frames(
    windows: int, time: int, generator: torch.Generator
) -> Bool[Tensor, "window time"]:
    """Most windows whole; some short (a track's end), some with a gap (the person was lost)."""
    frame = torch.arange(time)[None]
    kind = torch.rand(windows, 1, generator=generator)
    length = torch.randint(1, time + 1, (windows, 1), generator=generator)
    start = torch.randint(0, time, (windows, 1), generator=generator)
    gap = torch.randint(1, max(2, time // 2), (windows, 1), generator=generator)
    valid = torch.ones(windows, time, dtype=torch.bool)
    valid &= ~((kind < 0.06) & (frame >= length))
    valid &= ~((kind > 0.92) & (frame >= start) & (frame < start + gap))
    valid[:, 0] |= ~valid.any(1)
    return valid
