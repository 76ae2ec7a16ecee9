"""Results as `dtsvibe run` writes them, made from the truth of the bundled clip instead."""

from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np

from dtsvibe_cli.datatypes import (
    PersonMotion,
    PinholeCamera,
    SmplParams,
    Track,
    VideoInfo,
    VideoMotion,
    WeakPerspectiveCamera,
)
from dtsvibe_cli.results import save_results
from dtsvibe_cli.synthetic.truth import Truth, load_truth

CLIP = Path(__file__).parent.parent / "examples" / "synthetic_walk.mp4"
TRUTH = CLIP.with_name("synthetic_walk_truth.npz")
SIZE = (640, 480)

truth = cache(lambda: load_truth(TRUTH))


def true_person(frames: np.ndarray, track_id: int = 1) -> PersonMotion:
    """The person of the clip in some of its frames, without any error."""
    known: Truth = truth()
    joints_px = known.joints_px[frames]
    zeros = np.zeros(len(frames))
    return PersonMotion(
        track=Track(
            track_id=track_id,
            frame_index=frames,
            boxes_xyxy=np.concatenate([joints_px.min(1) - 10, joints_px.max(1) + 10], axis=1),
            scores=zeros + 1,
        ),
        smpl=SmplParams(
            global_orient=known.global_orient_rotmat[frames],
            body_pose=known.body_pose_rotmat[frames],
            betas=np.tile(known.betas, (len(frames), 1)),
            transl=known.transl[frames],
        ),
        camera=WeakPerspectiveCamera(scale=zeros + 1, tx=zeros, ty=zeros),
        crops_cxcys=np.zeros((len(frames), 3)) + 100,
        joints_cam=known.joints_cam[frames],
        joints_px=joints_px,
        observed=zeros == 0,
    )


def made_motion(*people: PersonMotion, first: int = 0, last: int = 149) -> VideoMotion:
    """A result of frames ``first`` to ``last`` of the clip."""
    return VideoMotion(
        video=VideoInfo(path=CLIP, width_px=SIZE[0], height_px=SIZE[1], frame_rate=Fraction(30)),
        camera=PinholeCamera(
            focal_length_px=truth().focal_length_px, center_px=truth().center_px, source="option"
        ),
        people=people,
        time_s=np.arange(first, last + 1) / 30,
        first_frame=first,
    )


def shaken(person: PersonMotion, metres: float, seed: int = 0) -> PersonMotion:
    """The same with noise on its joints."""
    noise = np.random.default_rng(seed).normal(0, metres, person.joints_cam.shape)
    return replace(person, joints_cam=person.joints_cam + noise)


def save(motion: VideoMotion, folder: Path) -> Path:
    """Written as a run's folder; gives the folder."""
    save_results(motion, folder / "walk_smpl.npz")
    return folder
