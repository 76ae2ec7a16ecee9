"""Boxes that keep hold of legs which the detector loses.

Against a glaring or busy background a detector may see a person down to the hips only, and give a
box that ends there. A crop made of it would cut the legs off, and the pose network, which believes
that every crop holds a whole body, would fold them up into what it sees.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float

from dtsvibe_cli.geometry.joints import COCO17

MIN_SCORE: Final = 0.2
"""Keypoint score from which a hip, shoulder or ankle counts as seen."""

MEMORY_S: Final = 1.0
"""How long a whole box is remembered."""

_TORSO: Final = [
    COCO17.index(name) for name in ("left_hip", "right_hip", "left_shoulder", "right_shoulder")
]
_ANKLES: Final = [COCO17.index(name) for name in ("left_ankle", "right_ankle")]


@dataclass(frozen=True, kw_only=True)
class _Whole:
    """The last box that held both trunk and feet."""

    time_s: float
    box_from_torso: Float[np.ndarray, "4"]
    """Its corners, measured from the middle of the trunk, pixels."""


class WholeBoxes:
    """Remembers everybody's last whole box, and moves it along with the trunk."""

    def __init__(self) -> None:
        self._last: dict[int, _Whole] = {}

    def __call__(
        self,
        track_id: int,
        time_s: float,
        box_xyxy: Float[np.ndarray, "4"],
        keypoints: Float[np.ndarray, "17 3"],
    ) -> Float[np.ndarray, "4"]:
        """The box, or where no ankle is seen the box around it and the remembered one.

        Args:
            track_id: Whose box it is.
            time_s: When; never earlier than in the call before for the same person.
            box_xyxy: The detector's box, pixels.
            keypoints: The detector's COCO keypoints: x, y, score.
        """
        torso = keypoints[_TORSO]
        if torso[:, 2].min() < MIN_SCORE:
            return box_xyxy
        centre = np.tile(torso[:, :2].mean(0), 2)
        if keypoints[_ANKLES, 2].max() >= MIN_SCORE:
            self._last[track_id] = _Whole(time_s=time_s, box_from_torso=box_xyxy - centre)
            return box_xyxy
        last = self._last.get(track_id)
        if last is None or time_s - last.time_s > MEMORY_S:
            return box_xyxy
        moved = centre + last.box_from_torso
        return np.concatenate(
            [np.minimum(box_xyxy[:2], moved[:2]), np.maximum(box_xyxy[2:], moved[2:])]
        )
