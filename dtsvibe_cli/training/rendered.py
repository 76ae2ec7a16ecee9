"""The rendered stage: people drawn over photographs, looked at by the product's own networks.

Everything is true but the pictures: motion was recorded, and what is stored is what BlazePose,
MoveNet and the flow estimator really said of the frames.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8

from dtsvibe_cli.datatypes import Observations, PinholeCamera
from dtsvibe_cli.geometry.cameras import ray_rotation
from dtsvibe_cli.geometry.rotations import rotmat_to_rotvec
from dtsvibe_cli.smpl import BodyModel
from dtsvibe_cli.smpl_files import load_body_model
from dtsvibe_cli.stages.sides import settle_sides
from dtsvibe_cli.synthetic.film import draw_frame
from dtsvibe_cli.synthetic.places import PlaceLibrary
from dtsvibe_cli.training.motion_bank import load_bank
from dtsvibe_cli.training.scenes import (
    MAX_FRAMES,
    MIN_FRAMES,
    Director,
    PersonTruth,
    Scene,
    hidden_landmarks,
)
from dtsvibe_cli.training.sequences import TrainingSequence
from dtsvibe_cli.training.watching import Watcher

DATASET: Final = "rendered"
MIN_SEEN: Final = 16
"""People seen in fewer frames are left out."""

_MIN_INSIDE: Final = 0.35
"""Share of somebody's landmarks that must be in the picture."""

_MIN_DEPTH_M: Final = 0.3
_MIN_SIZE_PX: Final = 40.0

_DETECT_EVERY: Final = (4, 4, 4, 3, 6)


@dataclass(frozen=True, kw_only=True)
class SeenPerson:
    """One person of a scene: the truth, and what was seen."""

    name: str
    scene: Scene
    truth: PersonTruth
    hidden: Bool[np.ndarray, "frame 33"]
    """Landmarks that cannot be seen."""
    observations: Observations
    """As the networks gave them: left and right not yet settled."""


class Studio:
    """Draws scenes and watches them."""

    def __init__(self, director: Director, *, device: str = "cpu") -> None:
        self._director = director
        self._watcher = Watcher(device)

    def people(self, seed: int, index: int) -> list[SeenPerson]:
        """The people of one scene who were followed; the same for the same seed and index."""
        scene = self._director.scene(seed, index)
        hidden: list[list[np.ndarray]] = [[] for _ in scene.people]

        def pictures() -> Iterator[UInt8[np.ndarray, "height width 3"]]:
            for frame_index in range(len(scene.film.cameras)):
                frame = draw_frame(scene.film, frame_index)
                for person, rows in enumerate(hidden):
                    rows.append(hidden_landmarks(scene, frame, person, frame_index))
                yield frame.rgb

        rng = np.random.default_rng((seed, index, 1))
        seen = self._watcher.watch(
            pictures(),
            scene.rate_hz,
            [_boxes(truth, scene.film.size) for truth in scene.people],
            rng,
            detect_every=int(rng.choice(_DETECT_EVERY)),
        )
        return [
            SeenPerson(
                name=f"{seed}/{index:06d}_{number}",
                scene=scene,
                truth=truth,
                hidden=np.stack(rows),
                observations=observations,
            )
            for number, (truth, rows, observations) in enumerate(
                zip(scene.people, hidden, seen, strict=True)
            )
            if observations is not None and len(observations.time_s) >= MIN_SEEN
        ]


def _boxes(truth: PersonTruth, size: tuple[int, int]) -> Float[np.ndarray, "frame 4"]:
    """Boxes around people as far as they are in the picture; NaN where too little of them is."""
    at = truth.landmarks_px
    low, high = np.clip(at.min(1), 0, size), np.clip(at.max(1), 0, size)
    inside = ((at >= 0) & (at < size)).all(-1) & (truth.landmarks_cam[..., 2] > _MIN_DEPTH_M)
    there = (inside.mean(1) > _MIN_INSIDE) & ((high - low).max(1) > _MIN_SIZE_PX)
    return np.where(there[:, None], np.concatenate([low, high], axis=1), np.nan)


def to_sequence(person: SeenPerson) -> TrainingSequence:
    """What the network is given of a person, and the labels before its imagined camera."""
    frames = len(person.scene.film.cameras)
    mended = settle_sides(person.observations).observations
    rows = mended.track.frame_index
    seen = np.zeros(frames, bool)
    seen[rows] = True
    everywhere = np.arange(frames)
    crops = np.stack([np.interp(everywhere, rows, column) for column in mended.crops_cxcysa.T], 1)
    middle, half = crops[:, None, :2], crops[:, None, 2:3] / 2

    def put(values: np.ndarray) -> np.ndarray:
        out = np.zeros((frames, *values.shape[1:]), np.float32)
        out[rows] = values
        return out

    landmarks = put((mended.landmarks_px - middle[rows]) / half[rows])
    keypoints = put(
        np.concatenate(
            [(mended.keypoints[..., :2] - middle[rows]) / half[rows], mended.keypoints[..., 2:]], -1
        )
    )
    keypoints[keypoints[..., 2] == 0] = 0
    truth, ones = person.truth, np.ones((frames, 24), np.float32)
    turn = straight_turns(person.scene, crops[:, :2])
    pose = truth.full_pose.double().clone()
    pose[:, 0] = torch.from_numpy(turn) @ pose[:, 0]
    joints = truth.joints_cam - truth.joints_cam[:, :1]
    flow = np.zeros((frames, *mended.flow.shape[1:]), np.float16)
    flow[rows] = mended.flow[:]
    return TrainingSequence(
        name=person.name,
        dataset=DATASET,
        rate_hz=person.scene.rate_hz,
        crops_cxcysa=crops.astype(np.float32),
        seen=seen,
        landmarks_crop=landmarks,
        visibility=put(mended.visibility),
        world_landmarks_m=put(mended.world_landmarks_m),
        keypoints_crop=keypoints,
        flow=flow,
        full_pose_rotvec=rotmat_to_rotvec(pose).float().numpy(),
        betas=truth.betas.astype(np.float32),
        has_smpl=np.ones(frames, bool),
        joints_m=(joints @ turn.transpose(0, 2, 1)).astype(np.float32),
        joints_m_weight=ones,
        joints_crop=((truth.joints_px - middle) / half).astype(np.float32),
        joints_crop_weight=ones,
    )


def straight_turns(
    scene: Scene, middles_px: Float[np.ndarray, "frame 2"]
) -> Float[np.ndarray, "frame 3 3"]:
    """From the real camera to one that looks straight at these pixels, frame by frame."""
    turns = []
    for camera, middle in zip(scene.film.cameras, middles_px, strict=True):
        pinhole = PinholeCamera(
            focal_length_px=float(camera.K[0, 0]),
            center_px=(float(camera.K[0, 2]), float(camera.K[1, 2])),
            source="option",
        )
        turns.append(ray_rotation(torch.from_numpy(middle[None]).double(), pinhole)[0].T.numpy())
    return np.stack(turns)


def make_studio(
    motion: Path,
    places: Path | None,
    *,
    cache: Path | None = None,
    body: BodyModel | None = None,
    held_out: bool = False,
    frames: tuple[int, int] = (MIN_FRAMES, MAX_FRAMES),
) -> Studio:
    """A studio with all motion of a folder, held-out clips apart.

    Args:
        motion: Folder of motion capture files.
        places: Folder of panoramas and photographs; None to do without.
        cache: File that keeps the motion, for the next start.
        body: The body; None for the built-in one.
        held_out: Use the held-out clips alone, in place of all others.
        frames: Shortest and longest length of a scene.

    Raises:
        DataError: There is no motion, or there are no places in the folder.
    """
    library = None if places is None else PlaceLibrary(places)
    body = body or load_body_model()
    bank = load_bank(motion, body.joint_template.double().numpy(), cache)
    return Studio(Director(bank.subset(held_out=held_out), body, library, frames))
