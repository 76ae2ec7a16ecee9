"""The frozen values that stages hand to each other, and nothing else.

Conventions, everywhere:

* pixel coordinates: the centre of the top-left pixel is (0.5, 0.5), an image of width W spans
  0 to W;
* camera coordinates: OpenCV axes (x right, y down, z forward), metres;
* ``frame_index``: 0-based index of the frame in the decoded input;
* arrays are numpy at these borders; torch stays inside models, refinement and training.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from dtsvibe_cli.stored_rows import StoredRows


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """What is known of an input before its frames are decoded."""

    path: Path
    """The file, image folder, or (webcam) the recording."""
    width_px: int
    """Width after rotation, as a viewer shows it."""
    height_px: int
    """Height after rotation."""
    frame_rate: Fraction
    """Average frames a second, exact (30000/1001 stays 30000/1001)."""
    num_frames: int | None = None
    """From the header when it says so; it may be wrong. None when unknown."""
    rotation_deg: int = 0
    """Rotation that the reader applies to the stored picture: 0, 90, 180 or 270, anti-clockwise."""
    has_audio: bool = False
    """Whether the input carries an audio stream that can be copied."""
    focal_length_px: float | None = None
    """Focal length found in the file's own metadata, None when there is none."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One decoded picture, upright."""

    index: int
    """0-based index in the decoded input."""
    rgb: UInt8[np.ndarray, "height width 3"]
    """The picture after rotation."""
    pts: int
    """Presentation time in units of ``time_base``."""
    time_base: Fraction
    """Seconds in one unit of ``pts``."""

    @property
    def time_s(self) -> float:
        """Presentation time in seconds."""
        return float(self.pts * self.time_base)


@dataclass(frozen=True, kw_only=True)
class Detections:
    """People found in one frame."""

    boxes_xyxy: Float[np.ndarray, "person 4"]
    """Corners, pixels of the full image."""
    scores: Float[np.ndarray, " person"]
    """Confidence, 0 to 1."""
    keypoints: Float[np.ndarray, "person 17 3"] | None = None
    """COCO keypoints (x, y in pixels of the full image, score), when the detector gives them."""


@dataclass(frozen=True, kw_only=True)
class Track:
    """One person through the video: a box for each frame in which it is followed."""

    track_id: int
    """Identity of the person, from 1."""
    frame_index: Int[np.ndarray, " frame"]
    """Rising, without repeats; gaps are allowed."""
    boxes_xyxy: Float[np.ndarray, "frame 4"]
    """Corners, pixels of the full image; interpolated where the detector was not asked."""
    scores: Float[np.ndarray, " frame"]
    """Detection confidence, 0 to 1; 0 where interpolated over a missed detection."""


@dataclass(frozen=True, kw_only=True)
class Observations:
    """All that the network and the refinement see of one tracked person, one row a frame."""

    track: Track
    """The person's frames and boxes."""
    crops_cxcysa: Float[np.ndarray, "frame 4"]
    """Square crop given to the pose network: centre x, y, side (pixels), and the angle (radians) by
    which it is turned clockwise as seen, so that the person is upright in it."""
    landmarks_px: Float[np.ndarray, "frame 33 2"]
    """BlazePose landmarks, pixels of the full image."""
    visibility: Float[np.ndarray, "frame 33"]
    """BlazePose visibility, 0 to 1."""
    world_landmarks_m: Float[np.ndarray, "frame 33 3"]
    """BlazePose world landmarks, metres, image axes (x right, y down, z away), origin mid-hip."""
    keypoints: Float[np.ndarray, "frame 17 3"]
    """COCO keypoints of the detector (x, y pixels, score); score 0 in frames it was not asked."""
    flow: Float[np.ndarray, "frame 2 side side"] | StoredRows
    """Flow from the previous frame into this one under this frame's crop transform, in units of the
    crop side; zeros in the first frame."""
    time_s: Float[np.ndarray, " frame"]
    """Presentation time of each frame."""
    appearance: Float[np.ndarray, "frame feature"] | StoredRows | None = None
    """V-CNN's features of the upright crops; None when landmarks are the network's appearance."""
    flow_features: Float[np.ndarray, "frame flow_feature"] | StoredRows | None = None
    """O-CNN's features of a flow field finer than ``flow``; None when it takes ``flow`` itself."""


@dataclass(frozen=True, kw_only=True)
class SmplParams:
    """SMPL parameters in camera coordinates; any leading axes."""

    global_orient: Float[np.ndarray, "*batch 3 3"]
    """Rotation matrix of the root."""
    body_pose: Float[np.ndarray, "*batch 23 3 3"]
    """Rotation matrices of the other joints relative to their parents."""
    betas: Float[np.ndarray, "*batch 10"]
    """Shape coefficients of the body model in use."""
    transl: Float[np.ndarray, "*batch 3"]
    """Translation, metres."""


@dataclass(frozen=True, kw_only=True)
class WeakPerspectiveCamera:
    """Camera of a square crop mapped to [-1, 1]: ``x = scale * (X + tx)``, the same for y."""

    scale: Float[np.ndarray, " frame"]
    tx: Float[np.ndarray, " frame"]
    ty: Float[np.ndarray, " frame"]


@dataclass(frozen=True, kw_only=True)
class PinholeCamera:
    """The full image's perspective camera."""

    focal_length_px: float
    """Focal length."""
    center_px: tuple[float, float]
    """Principal point (x, y)."""
    source: str
    """Where the focal length comes from: ``option``, ``metadata`` or ``default``."""

    @property
    def K(self) -> Float[np.ndarray, "3 3"]:
        """Intrinsics."""
        f, (cx, cy) = self.focal_length_px, self.center_px
        return np.array([[f, 0, cx], [0, f, cy], [0, 0, 1]], dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class PersonMotion:
    """One person's motion: the result."""

    track: Track
    smpl: SmplParams
    """One row a frame; ``betas`` is the same row repeated."""
    camera: WeakPerspectiveCamera
    """Weak-perspective camera of ``crops_cxcys``."""
    crops_cxcys: Float[np.ndarray, "frame 3"]
    """Square the weak-perspective camera refers to: centre x, y, side, pixels of the full image."""
    joints_cam: Float[np.ndarray, "frame 24 3"]
    """The body model's 24 joints, metres, camera coordinates."""
    joints_px: Float[np.ndarray, "frame 24 2"]
    """The same joints in pixels of the full image."""
    observed: Bool[np.ndarray, " frame"]
    """False in absences of more than half a second, where the motion is made up.

    In shorter ones the crop is interpolated and looked at, and ``track.scores`` is 0."""


@dataclass(frozen=True, kw_only=True)
class VideoMotion:
    """Everything ``dtsvibe run`` found in one video."""

    video: VideoInfo
    camera: PinholeCamera
    people: tuple[PersonMotion, ...]
    time_s: Float[np.ndarray, " frame"]
    """Presentation time of every decoded frame that was processed."""
    first_frame: int = 0
    """Index of the first processed frame."""
    meta: dict[str, Any] = field(default_factory=dict)
    """Versions, weights' sha256, body model, units, licence: plain JSON values."""
