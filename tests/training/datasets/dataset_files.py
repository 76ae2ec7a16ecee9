"""Small made-up data sets in the layouts of the real ones, and what is true of them."""

import io
import json
import pickle
import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat
from scipy.spatial.transform import Rotation

from dtsvibe_cli.video.writer import VideoWriter

WIDTH_PX, HEIGHT_PX = 64, 48
FOCAL_PX, CENTER_PX = 60.0, (33.0, 23.0)
K = np.array([[FOCAL_PX, 0, CENTER_PX[0]], [0, FOCAL_PX, CENTER_PX[1]], [0, 0, 1]])


def joints(frames: int, count: int, seed: int = 0) -> np.ndarray:
    """Points about 4 m ahead of the camera, metres."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(frames, count, 3)) * [0.3, 0.5, 0.3] + [0.2, 0, 4]


def project(points_m: np.ndarray) -> np.ndarray:
    return points_m[..., :2] / points_m[..., 2:] * FOCAL_PX + np.array(CENTER_PX)


def write_pictures(folder: Path, count: int, first: int = 0, pattern: str = "image_{:05d}") -> None:
    """Grey pictures, each brighter than the one before."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        picture = Image.new("RGB", (WIDTH_PX, HEIGHT_PX), (10 * k + 5,) * 3)
        picture.save(folder / f"{pattern.format(first + k)}.jpg", quality=95)


def write_clip(path: Path, count: int, rate: int = 25) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".mp4")
    with VideoWriter(part, frame_rate=Fraction(rate)) as writer:
        for k in range(count):
            picture = np.full((HEIGHT_PX, WIDTH_PX, 3), 10 * k + 5, np.uint8)
            writer.write(picture, pts=k, time_base=Fraction(1, rate))
    part.replace(path)


@dataclass
class Actor:
    """Somebody in 3DPW, in the world and as the camera sees them."""

    poses: np.ndarray
    betas: np.ndarray
    joints_world: np.ndarray
    joints_cam: np.ndarray
    root_cam: np.ndarray
    valid: np.ndarray


def write_3dpw(root: Path, split: str, name: str, people: int = 2, frames: int = 5) -> list[Actor]:
    """One sequence; the cameras turn about."""
    rng = np.random.default_rng(1)
    turn = Rotation.from_rotvec(rng.normal(size=(frames, 3))).as_matrix()
    shift = rng.normal(size=(frames, 3))
    extrinsics = np.tile(np.eye(4), (frames, 1, 1))
    extrinsics[:, :3, :3], extrinsics[:, :3, 3] = turn, shift
    actors = []
    for person in range(people):
        cam = joints(frames, 24, person)
        poses = rng.normal(size=(frames, 72))
        root_world = Rotation.from_rotvec(poses[:, :3]).as_matrix()
        valid = np.ones(frames)
        valid[1] = 0
        actors.append(
            Actor(
                poses=poses,
                betas=rng.normal(size=10),
                joints_world=(cam - shift[:, None]) @ turn,
                joints_cam=cam,
                root_cam=turn @ root_world,
                valid=valid,
            )
        )
    content = {
        "sequence": name,
        "poses": [actor.poses for actor in actors],
        "betas": [actor.betas for actor in actors],
        "trans": [np.zeros((frames, 3)) for _ in actors],
        "jointPositions": [actor.joints_world.reshape(frames, 72) for actor in actors],
        "campose_valid": [actor.valid for actor in actors],
        "genders": ["m", "f"][:people],
        "texture_maps": [None for _ in actors],
        "cam_poses": extrinsics,
        "cam_intrinsics": K,
        "img_frame_ids": np.arange(frames),
    }
    path = root / "sequenceFiles" / split / f"{name}.pkl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=2))
    write_pictures(root / "imageFiles" / name, frames)
    return actors


def write_cdf(path: Path, pose: np.ndarray) -> None:
    """A CDF file with one variable, as Human3.6M's: a record that holds all frames."""
    from cdflib.cdfwrite import CDF

    path.parent.mkdir(parents=True, exist_ok=True)
    file = CDF(path, delete=True)
    spec = {
        "Variable": "Pose",
        "Data_Type": CDF.CDF_FLOAT,
        "Num_Elements": 1,
        "Rec_Vary": True,
        "Dim_Sizes": list(pose.shape),
    }
    file.write_var(spec, var_data=pose[None].astype(np.float32))
    file.close()


def write_human36m(root: Path, subject: str, take: str, frames: int = 6) -> np.ndarray:
    cam = joints(frames, 32)
    features = root / subject / "MyPoseFeatures"
    write_cdf(features / "D3_Positions_mono" / f"{take}.cdf", 1000 * cam.reshape(frames, -1))
    write_cdf(features / "D2_Positions" / f"{take}.cdf", project(cam).reshape(frames, -1))
    write_clip(root / subject / "Videos" / f"{take}.mp4", frames, rate=50)
    return cam


def write_3dhp(root: Path, subject: str, cameras: int = 3, frames: int = 6) -> list[np.ndarray]:
    """One sequence, videos of two of its cameras."""
    folder = root / subject / "Seq1"
    views = [joints(frames, 28, camera) for camera in range(cameras)]
    cells = {"annot2": np.empty((cameras, 1), object), "annot3": np.empty((cameras, 1), object)}
    for camera, cam in enumerate(views):
        cells["annot3"][camera, 0] = 1000 * cam.reshape(frames, -1)
        cells["annot2"][camera, 0] = project(cam).reshape(frames, -1)
    folder.mkdir(parents=True, exist_ok=True)
    savemat(folder / "annot.mat", {**cells, "frames": np.arange(frames)})
    for camera in (0, 2):
        write_clip(folder / "imageSequence" / f"video_{camera}.avi", frames, rate=50)
    return views


def write_penn(root: Path, name: str, *, train: bool = True, frames: int = 5) -> np.ndarray:
    pixels = project(joints(frames, 13))
    visible = np.ones((frames, 13))
    visible[2, 3] = 0
    low, high = pixels.min(1), pixels.max(1)
    fields = {
        "action": "bowl",
        "x": pixels[..., 0],
        "y": pixels[..., 1],
        "visibility": visible,
        "bbox": np.concatenate([low, high], 1)[: frames - 1],  # one short, as in some videos
        "train": 1 if train else -1,
        "nframes": frames,
    }
    (root / "labels").mkdir(parents=True, exist_ok=True)
    savemat(root / "labels" / f"{name}.mat", fields)
    write_pictures(root / "frames" / name, frames, first=1, pattern="{:06d}")
    return pixels


def write_posetrack(root: Path, name: str, frames: int = 12) -> np.ndarray:
    """Person 0 is labelled in frames 2, 3 and 6, person 3 in all."""
    pixels = project(joints(frames, 17))
    folder = Path("images") / "train" / name
    images = [
        {"id": 100 + k, "frame_id": 100 + k, "file_name": str(folder / f"{k:06d}.jpg")}
        for k in range(frames)
    ]
    labels = []
    for person, rows in ((3, range(frames)), (0, (2, 3, 6))):
        for k in rows:
            points = np.concatenate([pixels[k] + person, np.ones((17, 1))], 1)
            points[4] = 0
            label = {"image_id": 100 + k, "track_id": person, "keypoints": points.ravel().tolist()}
            if person == 0:
                label["bbox"] = [10.0 + k, 5, 20, 30]
            labels.append(label)
    labels.append({"image_id": 100, "track_id": 7, "bbox_head": [1, 2, 3, 4]})
    path = root / "annotations" / "train" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": images, "annotations": labels[::-1], "categories": []}))
    write_pictures(root / folder, frames, pattern="{:06d}")
    return pixels


def varint(number: int) -> bytes:
    out = b""
    while True:
        out += bytes([number & 0x7F | (0x80 if number > 0x7F else 0)])
        number >>= 7
        if not number:
            return out


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def example(features: dict[str, list[bytes] | list[float] | list[int]]) -> bytes:
    """A protocol buffer as TensorFlow writes it."""
    entries = b""
    for name, values in features.items():
        if values and isinstance(values[0], bytes):
            feature = field(1, b"".join(field(1, value) for value in values))  # type: ignore[arg-type]
        elif values and isinstance(values[0], float):
            feature = field(2, field(1, struct.pack(f"<{len(values)}f", *values)))
        else:
            packed = b"".join(varint(int(v) & (2**64 - 1)) for v in values)
            feature = field(3, field(1, packed))
        entries += field(1, field(1, name.encode()) + field(2, feature))
    return field(1, entries)


def write_records(path: Path, contents: list[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(struct.pack("<Q", len(c)) + b"crc!" + c + b"crc!" for c in contents))


def jpeg(level: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (WIDTH_PX, WIDTH_PX), (level,) * 3).save(stream, "jpeg", quality=95)
    return stream.getvalue()


def write_instavariety(path: Path, *, features: bool, frames: int = 4) -> np.ndarray:
    """Two people; returns the 20 keypoints of both in pixels."""
    pixels = project(joints(frames, 20))
    stored = pixels / WIDTH_PX * 2 - 1 if features else pixels
    toes = np.concatenate([stored[:, 14:], np.ones((frames, 6, 1))], -1)
    content: dict[str, list[bytes] | list[float] | list[int]] = {
        "meta/N": [frames],
        "image/encoded": [jpeg(40 * k) for k in range(frames)],
        "image/xys": stored[:, :14].transpose(0, 2, 1).ravel().tolist(),
        "image/visibilities": np.tile([1] * 13 + [0], frames).tolist(),
        "image/toe_pts": toes.transpose(0, 2, 1).ravel().tolist(),
        "image/filenames": [b"a.jpg"] * frames,
    }
    if features:
        content["image/phis"] = [0.5] * (8 * frames)
    write_records(path, [example(content), example(content)])
    return pixels
