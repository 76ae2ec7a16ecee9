"""Ground truth that tests write in the data sets' layouts, and results that go with it."""

import json
import pickle
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from synthetic import random_rotations, smpl_arrays

from dtsvibe_cli.datatypes import (
    PersonMotion,
    PinholeCamera,
    SmplParams,
    Track,
    VideoInfo,
    VideoMotion,
    WeakPerspectiveCamera,
)
from dtsvibe_cli.evaluation.joint_sets import H36M17
from dtsvibe_cli.smpl import BodyModel
from dtsvibe_cli.smpl_files import SMPL_NUM_VERTICES
from dtsvibe_cli.synthetic.truth import Truth, load_truth

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
K = np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]])


def walking_truth(num_frames: int = 8) -> Truth:
    """The first frames of the bundled clip's truth."""
    truth = load_truth(EXAMPLES / "synthetic_walk_truth.npz")
    cut = {
        name: value[:num_frames]
        for name, value in vars(truth).items()
        if isinstance(value, np.ndarray) and name != "betas"
    }
    return replace(truth, **cut)


def project(points: np.ndarray, K: np.ndarray = K) -> np.ndarray:
    pixels = points @ K.T
    return pixels[..., :2] / pixels[..., 2:]


def person(
    joints_cam: np.ndarray,
    *,
    K: np.ndarray = K,
    track_id: int = 1,
    frame_index: np.ndarray | None = None,
    smpl: SmplParams | None = None,
) -> PersonMotion:
    """A result with these 24 joints; parameters of the rest pose unless given."""
    frames = len(joints_cam)
    pixels = project(joints_cam, K)
    low, high = pixels.min(1), pixels.max(1)
    side = (high - low).max(1, keepdims=True)
    eye = np.eye(3)
    return PersonMotion(
        track=Track(
            track_id=track_id,
            frame_index=np.arange(frames) if frame_index is None else frame_index,
            boxes_xyxy=np.concatenate([low, high], axis=1),
            scores=np.ones(frames),
        ),
        smpl=smpl
        or SmplParams(
            global_orient=np.tile(eye, (frames, 1, 1)),
            body_pose=np.tile(eye, (frames, 23, 1, 1)),
            betas=np.zeros((frames, 10)),
            transl=joints_cam[:, 0],
        ),
        camera=WeakPerspectiveCamera(
            scale=np.ones(frames), tx=np.zeros(frames), ty=np.zeros(frames)
        ),
        crops_cxcys=np.concatenate([(low + high) / 2, side], axis=1),
        joints_cam=joints_cam,
        joints_px=pixels,
        observed=np.ones(frames, dtype=bool),
    )


def result(*people: PersonMotion, meta: dict[str, Any] | None = None) -> VideoMotion:
    last = max((int(one.track.frame_index[-1]) for one in people), default=0)
    return VideoMotion(
        video=VideoInfo(
            path=Path("clip.mp4"), width_px=640, height_px=480, frame_rate=Fraction(25)
        ),
        camera=PinholeCamera(focal_length_px=500.0, center_px=(320.0, 240.0), source="option"),
        people=people,
        time_s=np.arange(last + 1) / 25,
        meta=meta or {},
    )


def params_of(truth: Truth) -> SmplParams:
    return SmplParams(
        global_orient=truth.global_orient_rotmat,
        body_pose=truth.body_pose_rotmat,
        betas=np.tile(truth.betas, (len(truth.transl), 1)),
        transl=truth.transl,
    )


def write_official_body(path: Path) -> Path:
    """A made-up body of the official file's sizes, without pose blend shapes."""
    arrays = smpl_arrays(SMPL_NUM_VERTICES)
    del arrays["posedirs"]
    np.savez(path, **arrays)
    return path


def regressor_for(body: BodyModel) -> np.ndarray:
    """17 joints, each the mean of two vertices, with the left ones on the left."""
    order = body.v_template[:, 0].argsort().tolist()
    matrix = np.zeros((len(H36M17), len(order)))
    for row, name in enumerate(H36M17):
        start = {"l": len(order) - 40, "r": 0}.get(name[0], len(order) // 2)
        matrix[row, order[start + 2 * row]] = matrix[row, order[start + 2 * row + 1]] = 0.5
    return matrix


def write_own(
    folder: Path, arrays: dict[str, Any], cameras: dict[str, Any] | None = None, **entry: str
) -> Path:
    """One sequence ``walk`` in our own format."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "walk.npz", **arrays)
    lines = ['format = "dtsvibe-truth"', "version = 1", "[[sequence]]"]
    values = {"name": "walk", "truth": "walk.npz", **entry}
    lines += [f'{name} = "{value}"' for name, value in values.items()]
    (folder / "truth.toml").write_text("\n".join(lines) + "\n")
    if cameras is not None:
        (folder / "cameras.json").write_text(json.dumps(cameras))
    return folder


def world_of(points: np.ndarray, R: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Camera coordinates back in the world: one rotation, or one a frame."""
    return np.einsum(
        "fba,fjb->fja", np.broadcast_to(R, (len(points), 3, 3)), points - t[..., None, :]
    )


def write_3dpw(folder: Path, body: BodyModel, num_frames: int = 6) -> tuple[SmplParams, np.ndarray]:
    """Two actors before a moving camera; gives the first one's parameters and joints (camera)."""
    rng = np.random.default_rng(0)
    R = random_rotations(num_frames, seed=3).numpy()
    t = rng.normal(size=(num_frames, 3))
    pose = rng.normal(0, 0.2, (2, num_frames, 72))
    betas = rng.normal(0, 1, (2, 10))
    actors = []
    for k in range(2):
        rotmat = Rotation.from_rotvec(pose[k].reshape(-1, 3)).as_matrix().reshape(-1, 24, 3, 3)
        shape = torch.from_numpy(np.tile(betas[k], (num_frames, 1))).float()
        posed = body.pose(torch.from_numpy(rotmat).float(), shape)
        # in camera coordinates, 4 m away; carried into the world afterwards
        transl = np.tile([1.2 * k - 0.6, 0, 4.0], (num_frames, 1))
        joints = posed.joints.double().numpy() + transl[:, None]
        actors.append((rotmat, transl, joints, posed.rest_joints[0, 0].double().numpy()))
    poses = []
    for k, (rotmat, *_) in enumerate(actors):
        turned = R.transpose(0, 2, 1) @ rotmat[:, 0]
        poses.append(np.concatenate([Rotation.from_matrix(turned).as_rotvec(), pose[k][:, 3:]], 1))
    content = {
        "sequence": "downtown_test_00",
        "genders": ["m", "f"],
        "betas": [betas[0], betas[1]],
        "poses": poses,
        "trans": [
            np.einsum("fba,fb->fa", R, transl + root - t) - root for _, transl, _, root in actors
        ],
        "jointPositions": [
            world_of(joints, R, t).reshape(num_frames, 72) for _, _, joints, _ in actors
        ],
        "poses2d": [np.ones((num_frames, 3, 18)) for _ in actors],
        "campose_valid": [np.ones(num_frames), np.ones(num_frames)],
        "cam_poses": _extrinsics(R, t),
        "cam_intrinsics": K,
        "img_frame_ids": np.arange(num_frames) * 2,
    }
    content["campose_valid"][0][1] = 0
    content["poses2d"][0][2, 2, :13] = 0
    path = folder / "sequenceFiles" / "test" / "downtown_test_00.pkl"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        pickle.dump(content, file, protocol=2)
    rotmat, transl, joints, _ = actors[0]
    params = SmplParams(
        global_orient=rotmat[:, 0],
        body_pose=rotmat[:, 1:],
        betas=np.tile(betas[0], (num_frames, 1)),
        transl=transl,
    )
    return params, joints


def _extrinsics(R: np.ndarray, t: np.ndarray) -> np.ndarray:
    matrices = np.tile(np.eye(4), (len(R), 1, 1))
    matrices[:, :3, :3], matrices[:, :3, 3] = R, t
    return matrices


def write_cdf(path: Path, pose: np.ndarray) -> None:
    """One variable ``Pose`` as Human3.6M stores it: (1, frame, 32 joints times axes)."""
    from cdflib.cdfwrite import CDF

    path.parent.mkdir(parents=True, exist_ok=True)
    flat = pose.reshape(1, len(pose), -1)
    cdf = CDF(path)
    cdf.write_var(
        {
            "Variable": "Pose",
            "Data_Type": 45,  # double
            "Num_Elements": 1,
            "Rec_Vary": True,
            "Dim_Sizes": list(flat.shape[1:]),
        },
        var_data=flat,
    )
    cdf.close()


def write_3dhp(folder: Path, name: str, joints_m: np.ndarray, **changed: np.ndarray) -> None:
    """``annot_data.mat`` of one test sequence."""
    import h5py

    (folder / name).mkdir(parents=True)
    frames = len(joints_m)
    values = {
        "annot3": 1000 * joints_m[:, None],
        "annot2": project(joints_m)[:, None],
        "valid_frame": np.ones((frames, 1)),
        "activity_annotation": np.ones((frames, 1)),
    } | changed
    with h5py.File(folder / name / "annot_data.mat", "w") as file:
        for key, value in values.items():
            file[key] = value
