"""The cheap stage: what the stages before the network would see, simulated from the body alone.

Landmarks are projected and corrupted, flow is drawn from vertex motion: no image is needed, and every batch is
new. A batch is a function of its seed, so training resumes exactly.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dtsvibe_cli.landmarks import LandmarkRegressor
from dtsvibe_cli.models.backbone import landmark_features
from dtsvibe_cli.smpl import BodyModel, Posed
from dtsvibe_cli.training.flow_simulation import splat_flow
from dtsvibe_cli.training.motion_bank import MotionBank
from dtsvibe_cli.training.observation_noise import HIPS, add_noise
from dtsvibe_cli.training.windows import CleanWindows, draw_windows

NUM_FLOW_VERTICES: Final = 400


@dataclass(frozen=True, kw_only=True)
class TrainingBatch:
    """Inputs and targets of a batch of windows."""

    appearance: Float[Tensor, "window time feature"]
    flow: Float[Tensor, "window time 2 side side"]
    valid: Bool[Tensor, "window time"]
    full_pose: Float[Tensor, "window time 24 3 3"]
    betas: Float[Tensor, "window 10"]
    joints_m: Float[Tensor, "window time 24 3"]
    """Relative to the pelvis."""
    joints_crop: Float[Tensor, "window time 24 2"]
    """Projected joints in crop coordinates, [-1, 1] over the square."""


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
        pelvis = posed.joints[:, :1]
        center = clean.distance_m.repeat_interleave(time)[:, None, None]
        center = torch.cat([torch.zeros_like(center).expand(-1, -1, 2), center], -1)

        def project(points: Float[Tensor, "frame point 3"]) -> Float[Tensor, "frame point 2"]:
            seen = points - pelvis + center
            return seen[..., :2] / seen[..., 2:].clamp_min(0.3)

        landmarks_3d = self.landmarks_of(posed, betas)
        image = project(landmarks_3d).unflatten(0, (windows, time))
        middle, side = _random_crops(image, generator)

        def to_crop(points: Float[Tensor, "frame point 2"]) -> Float[Tensor, "..."]:
            points = points.unflatten(0, (windows, time))
            return (points - middle[:, :, None]) / side[..., None, None] * 2

        noisy = add_noise(to_crop(image.flatten(0, 1)), self._world(pose, windows), generator)
        features = landmark_features(
            noisy.landmarks, noisy.visibility, noisy.world_m, noisy.keypoints
        )
        flow = self._flow(clean, posed, betas, project, middle, side, generator)
        valid = _seen_frames(windows, time, generator)
        return TrainingBatch(
            appearance=features * valid[..., None],
            flow=flow * valid[..., None, None, None],
            valid=valid,
            full_pose=clean.full_pose,
            betas=clean.betas,
            joints_m=(posed.joints - pelvis).unflatten(0, (windows, time)),
            joints_crop=to_crop(project(posed.joints)),
        )

    def _world(
        self, pose: Float[Tensor, "frame 24 3 3"], windows: int
    ) -> Float[Tensor, "window time 33 3"]:
        """World landmarks as BlazePose gives them: the same limb lengths for everybody."""
        mean = torch.zeros(len(pose), 10)
        world = self.landmarks_of(self.body.pose(pose, mean), mean)
        world = world - world[:, HIPS].mean(1, keepdim=True)
        return world.unflatten(0, (windows, -1))

    def _flow(
        self,
        clean: CleanWindows,
        posed: Posed,
        betas: Float[Tensor, "frame 10"],
        project,  # type: ignore[no-untyped-def]
        middle: Float[Tensor, "window time 2"],
        side: Float[Tensor, "window time"],
        generator: torch.Generator,
    ) -> Float[Tensor, "window time 2 side side"]:
        windows, time = clean.full_pose.shape[:2]
        vertices = self.body.skin(posed, betas, vertex_ids=self.flow_vertices)
        depth = vertices[..., 2].unflatten(0, (windows, time))
        now = project(vertices).unflatten(0, (windows, time))
        relative = (vertices - posed.joints[:, :1]).unflatten(0, (windows, time))
        before = torch.cat([relative[:, :1], relative[:, :-1]], 1)
        before = before - clean.root_step_m[:, :, None]
        before = before.flatten(0, 1) + posed.joints[:, :1]
        then = project(before).unflatten(0, (windows, time))
        at = (now - middle[:, :, None]) / side[..., None, None] + 0.5
        moved = (now - then) / side[..., None, None]
        moved[:, 0] = torch.where(
            torch.rand(windows, 1, 1, generator=generator) < 0.15,
            0.0,
            moved[:, 1] if time > 1 else 0.0,
        )
        return splat_flow(at, depth, moved, self.flow_side, generator)


def _random_crops(
    image: Float[Tensor, "window time 33 2"], generator: torch.Generator
) -> tuple[Float[Tensor, "window time 2"], Float[Tensor, "window time"]]:
    """Centre and side of a square around the person, off by a little and for a while."""
    windows, time = image.shape[:2]
    low, high = image.amin(2), image.amax(2)
    extent = (high - low).amax(-1)
    smooth = 0.5 * extent + 0.5 * extent.mean(1, keepdim=True)
    side = smooth * (1.15 + 0.5 * torch.rand(windows, 1, generator=generator))
    wander = torch.randn(windows, 2, 2, generator=generator) * 0.05
    along = torch.linspace(0, 1, time)[None, :, None]
    off = wander[:, :1] * (1 - along) + wander[:, 1:] * along
    return (low + high) / 2 + off * side[..., None], side


def _seen_frames(
    windows: int, time: int, generator: torch.Generator
) -> Bool[Tensor, "window time"]:
    """Most windows whole; some short (a track's end), some with frames in which the person was lost."""
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
