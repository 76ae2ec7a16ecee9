"""Prepared sequences made of random numbers."""

import numpy as np

from dtsvibe_cli.training.sequences import TrainingSequence


def random_sequence(
    frames: int = 40,
    *,
    name: str = "yard/person0",
    rate_hz: float = 30.0,
    side: int = 8,
    appearance: int | None = None,
    seed: int = 0,
) -> TrainingSequence:
    """All labels there, everybody seen, nothing related to anything."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    return TrainingSequence(
        name=name,
        dataset="made_up",
        rate_hz=rate_hz,
        crops_cxcysa=np.tile(np.float32([320, 240, 200, 0.1]), (frames, 1)),
        seen=np.ones(frames, bool),
        landmarks_crop=normal(frames, 33, 2) * np.float32(0.3),
        visibility=rng.random((frames, 33), np.float32),
        world_landmarks_m=normal(frames, 33, 3) * np.float32(0.3),
        keypoints_crop=np.concatenate(
            [normal(frames, 17, 2) * np.float32(0.3), rng.random((frames, 17, 1), np.float32)], -1
        ),
        flow=(normal(frames, 2, side, side) * 0.01).astype(np.float16),
        appearance=None if appearance is None else normal(frames, appearance).astype(np.float16),
        full_pose_rotvec=normal(frames, 24, 3) * np.float32(0.5),
        betas=normal(10),
        has_smpl=np.ones(frames, bool),
        joints_m=normal(frames, 24, 3) * np.float32(0.3),
        joints_m_weight=np.ones((frames, 24), np.float32),
        joints_crop=normal(frames, 24, 2) * np.float32(0.3),
        joints_crop_weight=np.ones((frames, 24), np.float32),
    )
