"""What readers of data sets give: one person through some frames, and the labels that exist."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from dtsvibe_cli.datatypes import PinholeCamera
from dtsvibe_cli.errors import DataError, VideoError
from dtsvibe_cli.geometry.boxes import pad
from dtsvibe_cli.training.datasets.joint_names import JointNames, known
from dtsvibe_cli.video import read_frames
from dtsvibe_cli.video.images import load_image

BOX_MARGIN: Final = 0.12
"""Growth of a box around joints on each side: they lie inside of the body."""

MIN_POINTS_OF_A_BOX: Final = 4


@runtime_checkable
class FrameSource(Protocol):
    """Pictures of one size, in order; can be gone through again and again."""

    def __iter__(self) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        """Upright RGB pictures.

        Raises:
            VideoError: One cannot be read.
        """
        ...


@dataclass(frozen=True)
class VideoFrames:
    """All frames of a video file."""

    path: Path

    def __iter__(self) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        for frame in read_frames(self.path):
            yield frame.rgb


@dataclass(frozen=True)
class ImageFrames:
    """Pictures in files."""

    paths: tuple[Path, ...]

    def __iter__(self) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        return map(load_image, self.paths)


@dataclass(frozen=True)
class EncodedFrames:
    """Pictures as the bytes of JPEG or PNG files."""

    contents: tuple[bytes, ...]

    def __iter__(self) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        for content in self.contents:
            try:
                with Image.open(BytesIO(content)) as picture:
                    yield np.array(picture.convert("RGB"), dtype=np.uint8)
            except (OSError, SyntaxError, ValueError) as error:
                raise VideoError(f"A stored picture cannot be read ({error}).") from error


@dataclass(frozen=True, kw_only=True)
class SmplLabels:
    """SMPL parameters, camera coordinates (OpenCV axes)."""

    full_pose_rotvec: Float[np.ndarray, "frame 24 3"]
    betas: Float[np.ndarray, "10"]
    valid: Bool[np.ndarray, " frame"]
    pelvis_m: Float[np.ndarray, "frame 3"] | None = None
    """Where the pelvis joint is; None when nobody knows."""
    body_sha256: str | None = None
    """Checksum of the body model that the betas are of; None for the official SMPL body."""


@dataclass(frozen=True, kw_only=True)
class JointLabels:
    """Joints in space (three axes: metres, camera coordinates) or in the picture (two: pixels)."""

    names: JointNames
    """As in :mod:`~dtsvibe_cli.training.datasets.joint_names`."""
    points: Float[np.ndarray, "frame joint axis"]
    weight: Float[np.ndarray, "frame joint"]
    """0: no label."""


@dataclass(frozen=True, kw_only=True)
class LabelledTrack:
    """One person, a row for each frame of the source, and the labels that exist."""

    dataset: str
    name: str
    """Unique in the data set; becomes the name of the prepared sequence."""
    rate_hz: float
    frames: FrameSource
    boxes_xyxy: Float[np.ndarray, "frame 4"]
    """Pixels; NaN where the person's place is not known."""
    camera: PinholeCamera | None = None
    """None when nobody knows; then there are no labels in space."""
    smpl: SmplLabels | None = None
    joints_3d: JointLabels | None = None
    joints_2d: JointLabels | None = None

    def __post_init__(self) -> None:
        lengths = {
            "boxes": len(self.boxes_xyxy),
            **{
                name: len(labels.points)
                for name, labels in (("3D joints", self.joints_3d), ("2D joints", self.joints_2d))
                if labels is not None
            },
        }
        if self.smpl is not None:
            lengths["poses"] = len(self.smpl.full_pose_rotvec)
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{count} {name}" for name, count in lengths.items())
            raise DataError(f"{self.dataset} {self.name} has labels of unlike length: {told}.")
        if self.camera is None and (self.smpl is not None or self.joints_3d is not None):
            raise DataError(f"{self.dataset} {self.name} has labels in space but no camera.")


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Something of a data set that is read at once: a file of labels with its pictures."""

    name: str
    read: Callable[[], Iterable[LabelledTrack]]
    """Its people.

    Raises:
        DataError: Its files are missing or malformed.
    """


def boxes_around(
    points_px: Float[np.ndarray, "frame point 2"],
    weight: Float[np.ndarray, "frame point"] | None = None,
) -> Float[np.ndarray, "frame 4"]:
    """Boxes that hold the points and the body around them; NaN where too few points are known."""
    there = known(points_px)
    if weight is not None:
        there &= weight > 0
    low = np.where(there[..., None], points_px, np.inf).min(1)
    high = np.where(there[..., None], points_px, -np.inf).max(1)
    enough = there.sum(1) >= MIN_POINTS_OF_A_BOX
    boxes = np.where(enough[:, None], np.concatenate([low, high], 1), np.nan)
    return pad(boxes, BOX_MARGIN)


def require_folder(path: Path, of: str) -> Path:
    """A folder that must be there.

    Raises:
        DataError: It is not.
    """
    if not path.is_dir():
        raise DataError(f"{path} is missing: {of}.")
    return path


def image_files(folder: Path, count: int | None = None, pattern: str = "*.jpg") -> ImageFrames:
    """The pictures of a folder by name, the first ``count`` of them.

    Raises:
        DataError: There are none, or fewer than that.
    """
    paths = sorted(folder.glob(pattern))
    if not paths:
        raise DataError(f"{folder} holds no {pattern} pictures.")
    if count is not None and len(paths) < count:
        raise DataError(f"{folder} holds {len(paths)} pictures for {count} rows of labels.")
    return ImageFrames(tuple(paths[:count]))
