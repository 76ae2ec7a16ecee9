"""What the pose networks say against what is true: samples for measuring how they err.

A sample has the same form whether it was drawn and watched, or simulated by
:mod:`dtsvibe_cli.training.observation_noise`, so that the two can be laid side by side.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from dtsvibe_cli.geometry.joints import BLAZEPOSE33
from dtsvibe_cli.landmarks import LandmarkRegressor
from dtsvibe_cli.smpl import BodyModel
from dtsvibe_cli.training.rendered import SeenPerson, straight_turns

_HIPS = [BLAZEPOSE33.index("left_hip"), BLAZEPOSE33.index("right_hip")]


@dataclass(frozen=True, kw_only=True)
class GapSample:
    """One person through time: given and true. Points in the picture are in any common unit."""

    frame: Int[np.ndarray, " row"]
    """Index of the frame."""
    given: Float[np.ndarray, "row 33 2"]
    visibility: Float[np.ndarray, "row 33"]
    given_world_m: Float[np.ndarray, "row 33 3"]
    keypoints: Float[np.ndarray, "row 17 3"]
    true: Float[np.ndarray, "row 33 2"]
    true_world_m: Float[np.ndarray, "row 33 3"]
    """Of a body of mean shape before a camera that looks straight at the person, mid-hip origin."""
    hidden: Bool[np.ndarray, "row 33"]
    root: Float[np.ndarray, "row 3 3"]
    """Orientation of the pelvis before that camera."""
    rate_hz: Float[np.ndarray, ""]
    crop_side: Float[np.ndarray, " row"] | None = None
    """Side of the square that the pose network was shown."""

    def save(self, path: Path) -> None:
        """Write the arrays."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        np.savez(path, **{name: value for name, value in values.items() if value is not None})

    @classmethod
    def load(cls, path: Path) -> "GapSample":
        """Read what :meth:`save` wrote."""
        with np.load(path) as file:
            arrays: dict[str, Any] = {name: file[name] for name in file.files}
        return cls(**arrays)


def sample_of(person: SeenPerson, body: BodyModel, landmarks_of: LandmarkRegressor) -> GapSample:
    """The frames in which a drawn person was seen, sides as the networks gave them."""
    seen = person.observations
    rows = seen.track.frame_index
    crops = seen.crops_cxcysa
    every = np.arange(len(person.scene.film.cameras))
    middles = np.stack([np.interp(every, rows, crops[:, axis]) for axis in (0, 1)], 1)
    turn = torch.from_numpy(straight_turns(person.scene, middles)[rows]).float()
    pose = person.truth.full_pose[rows].clone()
    pose[:, 0] = turn @ pose[:, 0]
    mean = torch.zeros(len(pose), 10)
    with torch.no_grad():
        world = landmarks_of(body.pose(pose, mean), mean).numpy()
    return GapSample(
        frame=rows,
        given=seen.landmarks_px,
        visibility=seen.visibility,
        given_world_m=seen.world_landmarks_m,
        keypoints=seen.keypoints,
        true=person.truth.landmarks_px[rows],
        true_world_m=world - world[:, _HIPS].mean(1, keepdims=True),
        hidden=person.hidden[rows],
        root=pose[:, 0].numpy(),
        rate_hz=np.array(person.scene.rate_hz),
        crop_side=crops[:, 2],
    )
