"""Parts of the refinement that were learned, tried (tried.py), and not kept."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from dtsvibe_cli.geometry.joints import (
    BLAZEPOSE33,
    BLAZEPOSE33_MIRROR,
    COCO17_MIRROR,
    COCO17_TO_BLAZEPOSE33,
    SMPL24,
    SMPL24_MIRROR,
)
from dtsvibe_cli.geometry.rotations import rotvec_to_rotmat
from dtsvibe_cli.landmarks import LandmarkRegressor
from dtsvibe_cli.smpl import BodyModel
from dtsvibe_cli.stages import evidence, refinement
from dtsvibe_cli.stages.evidence import EvidenceSource
from dtsvibe_cli.training.motion_bank import load_bank

EVERY = 6
"""One sequence in six, and one frame in four of it, are enough for a few hundred numbers."""

POSED = slice(1, 22)
"""Joints of the prior: all but the pelvis and the hands."""


@dataclass(frozen=True)
class Prior:
    """A mixture of Gaussians over poses of motion capture (twelve, by k-means, shrunk)."""

    middle: Tensor
    whitening: Tensor
    log_weight: Tensor

    @classmethod
    def learn(cls, folder: Path, body: BodyModel, parts: int = 12) -> "Prior":
        """From all motion that is not held out, and its mirror image."""
        bank = load_bank(folder, body.joint_template.double().numpy(), None).subset(held_out=False)
        rotmat = torch.cat(
            [torch.as_tensor(np.asarray(clip.rotmats[::8])).float() for clip in bank.clips]
        )
        flip = torch.diag(torch.tensor([-1.0, 1, 1]))
        rotmat = torch.cat([rotmat, flip @ rotmat[:, list(SMPL24_MIRROR)] @ flip])
        pose = rotmat[:, POSED, :, :2].flatten(1)
        chosen = torch.randperm(len(pose), generator=torch.Generator().manual_seed(0))[:parts]
        middle = pose[chosen]
        for _ in range(25):
            part = torch.cdist(pose, middle).argmin(1)
            middle = torch.stack([pose[part == k].mean(0) for k in range(parts)])
        common = torch.cov((pose - middle[part]).T) + 0.01 * torch.eye(pose.shape[1])
        factors = [
            torch.linalg.cholesky(0.5 * torch.cov(pose[part == k].T) + 0.5 * common)
            for k in range(parts)
        ]
        share = torch.bincount(part, minlength=parts) / len(pose)
        volume = torch.stack([factor.diagonal().log().sum() for factor in factors])
        whitening = torch.stack([torch.linalg.inv(factor) for factor in factors])
        return cls(middle, whitening, share.clamp_min(1e-3).log() - volume)

    @contextmanager
    def added(self, weight: float) -> Iterator[None]:
        """The refinement with this term too."""
        usual = refinement._loss

        def loss(posed: Any, *rest: Any) -> Tensor:
            pose = posed.rotmat[:, POSED, :, :2].flatten(1)
            off = torch.einsum("kij,fkj->fki", self.whitening, pose[:, None] - self.middle)
            likelihood = torch.logsumexp(self.log_weight - 0.5 * off.square().sum(-1), 1)
            return usual(posed, *rest) - weight * likelihood.mean() / pose.shape[1]

        with patch.object(refinement, "_loss", loss):
            yield


class _Frame(NamedTuple):
    """A frame of a rendered sequence, in fractions of the body's extent."""

    landmark_error: np.ndarray
    visibility: np.ndarray
    keypoint_error: np.ndarray
    score: np.ndarray
    apart: np.ndarray
    """Between a joint's landmark and keypoint; -0.5 where the detector says nothing."""
    bone_in_picture: np.ndarray
    """(33, 2, 3): picture of a metre along the axes of the bone that a landmark rides on."""


def _ridden(landmark: str) -> int:
    """The joint that a landmark turns with."""
    side = landmark.split("_")[0]
    rides = {
        "shoulder": "spine3", "elbow": f"{side}_shoulder", "wrist": f"{side}_elbow",
        "foot": f"{side}_ankle", "heel": f"{side}_ankle", "pinky": f"{side}_wrist",
        "index": f"{side}_wrist", "thumb": f"{side}_wrist", "hip": "pelvis",
        "knee": f"{side}_hip", "ankle": f"{side}_knee",
    }  # fmt: skip
    name = next((joint for part, joint in rides.items() if part in landmark), "head")
    return SMPL24.index(name)


_RIDDEN = [_ridden(name) for name in BLAZEPOSE33]
_COCO = list(COCO17_TO_BLAZEPOSE33)
_SAID = 0.2


def _frames(sequences: Path, body: BodyModel) -> Iterator[_Frame]:
    landmarks_of = LandmarkRegressor(body)
    for path in sorted(sequences.rglob("*.npz"))[::EVERY]:
        with np.load(path) as file:
            given = dict(file)
        betas = torch.tensor(given["betas"])[None]
        posed = body.pose(rotvec_to_rotmat(torch.tensor(given["full_pose_rotvec"])), betas)
        points = (landmarks_of(posed, betas) - posed.joints[:, :1]).numpy()
        turned = posed.global_rotmat.numpy()
        for t in np.flatnonzero(given["seen"])[::4]:
            scale, shift, depth = _camera(given["joints_m"][t], given["joints_crop"][t])
            away = points[t][:, 2:] + depth
            true = (scale * points[t][:, :2] + shift) / away
            extent = np.ptp(given["landmarks_crop"][t], axis=0).max()
            keypoints = given["keypoints_crop"][t]
            apart = np.full(len(BLAZEPOSE33), -0.5)
            between = given["landmarks_crop"][t][_COCO] - keypoints[:, :2]
            far = np.linalg.norm(between, axis=1) / extent
            apart[_COCO] = np.where(keypoints[:, 2] > _SAID, far, -0.5)
            yield _Frame(
                landmark_error=(given["landmarks_crop"][t] - true) / extent,
                visibility=given["visibility"][t],
                keypoint_error=(keypoints[:, :2] - true[_COCO]) / extent,
                score=keypoints[:, 2],
                apart=apart,
                bone_in_picture=scale / away[..., None] / extent * turned[t][_RIDDEN][:, :2],
            )


def _camera(joints_m: np.ndarray, picture: np.ndarray) -> tuple[float, np.ndarray, float]:
    """Scale, shift and depth with which joints fall on their picture (least squares)."""
    zero, one = np.zeros(len(joints_m)), np.ones(len(joints_m))
    rows = [
        np.stack([joints_m[:, k], one * (k == 0), one * (k == 1), zero - picture[:, k]], 1)
        for k in (0, 1)
    ]
    right = np.concatenate([picture[:, k] * joints_m[:, 2] for k in (0, 1)])
    scale, x, y, depth = np.linalg.lstsq(np.concatenate(rows), right, rcond=None)[0]
    return float(scale), np.array([x, y]), float(depth)


@dataclass(frozen=True)
class Weights:
    """One over the mean square error of a point, by joint, confidence and agreement."""

    landmark: np.ndarray
    """(33, visibility, agreement)."""
    keypoint: np.ndarray
    """(17, score)."""

    VISIBILITY = (0.5, 0.8, 0.95, 0.99)
    APART = (0.0, 0.02, 0.04, 0.08)
    SCORE = (0.2, 0.4, 0.6, 0.8)
    FLOOR = 0.05
    """Error that nothing is more exact than, as a fraction of the body's extent."""

    @classmethod
    def learn(cls, sequences: Path, body: BodyModel) -> "Weights":
        """From what both networks said of rendered people."""
        joint, coco = np.arange(len(BLAZEPOSE33)), np.arange(len(_COCO))
        landmark, keypoint = np.zeros((2, 33, 5, 5)), np.zeros((2, 17, 5))
        for frame in _frames(sequences, body):
            where = joint, *cls._bins(frame.visibility, frame.apart)
            landmark[0][where] += _square(frame.landmark_error)
            landmark[1][where] += 1
            said = frame.score > 0
            at = coco[said], np.digitize(frame.score, cls.SCORE)[said]
            keypoint[0][at] += _square(frame.keypoint_error)[said]
            keypoint[1][at] += 1
        return cls(
            cls._trust(landmark + landmark[:, list(BLAZEPOSE33_MIRROR)]),
            cls._trust(keypoint + keypoint[:, list(COCO17_MIRROR)]),
        )

    @classmethod
    def _bins(cls, visibility: np.ndarray, apart: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.digitize(visibility, cls.VISIBILITY), np.digitize(apart, cls.APART)

    @classmethod
    def _trust(cls, sums: np.ndarray) -> np.ndarray:
        """Rare combinations lean on all joints together."""
        squares, counts = sums
        usual = squares.sum(0) / np.maximum(counts.sum(0), 1)
        error: np.ndarray = (squares + 20 * usual) / (counts + 20)
        return cls.FLOOR**2 / (error + cls.FLOOR**2)

    @contextmanager
    def used(self) -> Iterator[None]:
        """The refinement with these weights in place of the program's."""
        usual = EvidenceSource._weighed

        def weighed(source: Any, part: slice) -> Any:
            given = usual(source, part)
            rows = source._rows[part]
            observed = source._observed[part, None]
            size = source._size_px[part, None]
            points, score = evidence._interpolated_keypoints(
                source._seen,
                source._time_s[part],
            )
            apart = np.full((len(rows), len(BLAZEPOSE33)), -0.5)
            between = source._seen.landmarks_px[rows][:, _COCO] - points
            far = np.linalg.norm(between, axis=-1) / size
            apart[:, _COCO] = np.where(score > _SAID, far, -0.5)
            bins = self._bins(source._seen.visibility[rows], apart)
            landmark = 2 * self.landmark[np.arange(33), bins[0], bins[1]] * observed
            landmark[:, list(evidence._FACE)] *= 0.2
            landmark[:, list(evidence._HANDS)] *= 0.4
            keypoint = self.keypoint[np.arange(17), np.digitize(score, self.SCORE)]
            keypoint = 1.5 * keypoint * (score > 0) * observed
            keypoint[:, list(evidence._COCO_FACE)] *= 0.2
            return given._replace(landmark_weight=landmark, keypoint_weight=keypoint)

        with patch.object(EvidenceSource, "_weighed", weighed):
            yield


def _square(error: np.ndarray) -> np.ndarray:
    """Squared distance; all beyond three tenths of the body are alike."""
    squared: np.ndarray = np.minimum(np.linalg.norm(error, axis=-1), 0.3) ** 2
    return squared


@dataclass(frozen=True)
class MovedLandmarks:
    """Where BlazePose usually sees a landmark, from where ours lies, along its bone's axes."""

    offset_m: np.ndarray
    only: tuple[str, ...] = ("",)
    """Words, one of which a landmark's name holds."""

    @classmethod
    def learn(cls, sequences: Path, body: BodyModel) -> "MovedLandmarks":
        """Least absolute residuals over seen landmarks of rendered people, both sides as one."""
        rows: list[list[np.ndarray]] = [[] for _ in BLAZEPOSE33]
        right: list[list[np.ndarray]] = [[] for _ in BLAZEPOSE33]
        mirror = np.array([-1.0, 1, 1])
        for frame in _frames(sequences, body):
            near = np.linalg.norm(frame.landmark_error, axis=1) < 0.08
            for k in np.flatnonzero(near & (frame.visibility > 0.9)):
                for own, flip in ((k, 1.0), (BLAZEPOSE33_MIRROR[k], mirror)):
                    rows[own].append(frame.bone_in_picture[k] * flip)
                    right[own].append(frame.landmark_error[k])
        return cls(
            np.stack(
                [
                    _robust_fit(np.concatenate(a), np.concatenate(b))
                    for a, b in zip(rows, right, strict=True)
                ]
            )
        )

    @contextmanager
    def used(self) -> Iterator[None]:
        """The refinement comparing such landmarks."""
        usual = refinement._pose
        moved = [any(word in name for word in self.only) for name in BLAZEPOSE33]
        offset = torch.from_numpy(self.offset_m * np.array(moved)[:, None]).float()

        def pose(unknowns: Any, body: BodyModel, landmarks_of: Any, camera: Any) -> Any:
            def elsewhere(posed: Any, betas: Tensor) -> Tensor:
                turn = posed.global_rotmat[:, _RIDDEN]
                there: Tensor = landmarks_of(posed, betas)
                return there + (turn @ offset[..., None])[..., 0]

            return usual(unknowns, body, elsewhere, camera)  # type: ignore[arg-type]

        with patch.object(refinement, "_pose", pose):
            yield


def _robust_fit(rows: np.ndarray, right: np.ndarray) -> np.ndarray:
    weight = np.ones(len(right))
    for _ in range(5):
        fit: np.ndarray = np.linalg.lstsq(rows * weight[:, None], right * weight, rcond=None)[0]
        weight = 1 / np.sqrt(np.maximum(np.abs(right - rows @ fit), 0.002))
    return fit
