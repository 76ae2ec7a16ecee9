"""From people's observations to their finished motion: estimate, refine, smooth, measure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dtsvibe_cli.allocation import give_freed_memory_back
from dtsvibe_cli.datatypes import (
    Observations,
    PersonMotion,
    PinholeCamera,
    SmplParams,
    Track,
    WeakPerspectiveCamera,
)
from dtsvibe_cli.geometry.cameras import project, translation_to_crop_camera
from dtsvibe_cli.smpl import BodyModel
from dtsvibe_cli.stages.estimation import (
    Estimate,
    MotionModel,
    Timeline,
    estimate_timelines,
    split_timelines,
)
from dtsvibe_cli.stages.evidence import EvidenceSource
from dtsvibe_cli.stages.jumps import WithoutJumps, mend_jumps
from dtsvibe_cli.stages.limb_sides import LimbSides, settle_limbs
from dtsvibe_cli.stages.refinement import refine
from dtsvibe_cli.stages.sides import Sides, settle_sides
from dtsvibe_cli.stages.smoothing import smooth_rotations, smooth_values
from dtsvibe_cli.streaming import map_in_threads
from dtsvibe_cli.timing import Stage, Stopwatch

_BLOCK: Final = 1024
"""Frames posed at once."""

MAX_THREADS: Final = 4
"""People finished at once: each needs some hundred bytes a frame more, and tens of MiB."""


@dataclass(frozen=True, kw_only=True)
class MotionSettings:
    """How one person's motion is made."""

    window_stride: int = 8
    refine: bool = True
    smooth_s: float = 0.05


@dataclass(frozen=True, kw_only=True)
class Mended:
    """Numbers of frames in which what was seen was put right."""

    swapped_landmarks: int
    """The pose network had left and right confused."""
    swapped_keypoints: int
    """The detector had."""
    swapped_limbs: int
    """Either had only arms or legs confused."""
    jumping_limbs: int
    """The pose network's arm or leg had jumped away."""

    @classmethod
    def of(cls, sides: Sides, jumps: WithoutJumps, limbs: LimbSides) -> "Mended":
        """Count the frames that were mended."""
        return cls(
            swapped_landmarks=int(sides.landmarks_swapped.sum()),
            swapped_keypoints=int(sides.keypoints_swapped.sum()),
            swapped_limbs=limbs.num_mended,
            jumping_limbs=int(jumps.mended.sum()),
        )


@dataclass(frozen=True, kw_only=True)
class MadeMotion:
    """The motion, and what was mended on the way."""

    person: PersonMotion
    mended: Mended


def make_motions(
    people: Sequence[Observations],
    network: MotionModel,
    body: BodyModel,
    camera: PinholeCamera,
    settings: MotionSettings,
    device: str = "cpu",
    watch: Stopwatch | None = None,
) -> Iterator[MadeMotion]:
    """Each person's motion, in every frame from first to last sight except long absences.

    The network sees the windows of all people in common batches; what follows is done person by
    person, several at once. ``watch`` counts the time of ``network`` and ``refine``.
    """
    watch = watch or Stopwatch()
    sides = [settle_sides(seen) for seen in people]
    steady = [mend_jumps(settled.observations) for settled in sides]
    timelines = [split_timelines(without.observations) for without in steady]

    def estimate(chosen: Sequence[int], seen: Sequence[Observations]) -> list[Estimate]:
        stretches = [
            (person, timeline)
            for k, person in zip(chosen, seen, strict=True)
            for timeline in timelines[k]
        ]
        with watch("network"):
            parts = iter(
                estimate_timelines(
                    network, stretches, camera, stride=settings.window_stride, device=device
                )
            )
            return [_joined([next(parts) for _ in timelines[k]]) for k in chosen]

    everybody = range(len(people))
    starts = dict(enumerate(estimate(everybody, [without.observations for without in steady])))
    limbs = [
        settle_limbs(steady[k].observations, _expected_px(starts[k], timelines[k], body, camera))
        for k in everybody
    ]
    mended = [k for k in everybody if limbs[k].num_mended]
    again = estimate(mended, [limbs[k].observations for k in mended])
    starts.update(zip(mended, again, strict=True))
    counts = [Mended.of(*each) for each in zip(sides, steady, limbs, strict=True)]
    settled = [each.observations for each in limbs]
    del people, sides, steady, limbs, again  # copies of each other where something was mended

    def finish(k: int) -> MadeMotion:
        person = _finish(settled[k], timelines[k], starts.pop(k), body, camera, settings, watch)
        return MadeMotion(person=person, mended=counts[k])

    yield from map_in_threads(finish, everybody, most=MAX_THREADS)


def _expected_px(
    estimate: Estimate, timelines: list[Timeline], body: BodyModel, camera: PinholeCamera
) -> Float[np.ndarray, "frame 24 2"]:
    """Where the estimated body's joints appear, in the frames in which the person was observed."""
    joints = _posed_joints(estimate, body)
    joints = joints - joints[:, :1] + estimate.pelvis_m[:, None]
    observed = np.concatenate([timeline.observed for timeline in timelines])
    joints_px = project(joints, camera.focal_length_px, camera.center_px)
    return joints_px[torch.from_numpy(observed)].double().numpy()


def _posed_joints(estimate: Estimate, body: BodyModel) -> Float[Tensor, "frame 24 3"]:
    """Joints of the body, pelvis where the shaped body has it, some frames at a time."""
    betas = estimate.betas[None]
    return torch.cat([body.pose(pose, betas).joints for pose in estimate.full_pose.split(_BLOCK)])


def _joined(parts: list[Estimate]) -> Estimate:
    """The stretches of one person one after the other, with one body."""
    if len(parts) == 1:
        return parts[0]
    return Estimate(
        full_pose=torch.cat([part.full_pose for part in parts]),
        betas=_common_betas(parts),
        pelvis_m=torch.cat([part.pelvis_m for part in parts]),
        crops_cxcys=torch.cat([part.crops_cxcys for part in parts]),
    )


def _finish(
    seen: Observations,
    timelines: list[Timeline],
    estimate: Estimate,
    body: BodyModel,
    camera: PinholeCamera,
    settings: MotionSettings,
    watch: Stopwatch,
) -> PersonMotion:
    """Refined, smoothed, and measured."""
    if settings.refine:
        with watch("refine"):
            squares = estimate.crops_cxcys.double().numpy()
            evidence = EvidenceSource(seen, timelines, squares, camera)
            estimate = refine(estimate, evidence, body, camera)
            del evidence
    give_freed_memory_back()
    estimate = _smoothed(estimate, timelines, settings.smooth_s)
    return _person(estimate, seen, timelines, body, camera)


def _common_betas(estimates: list[Estimate]) -> Tensor:
    """One body for all stretches: the weighted median, a stretch counting by its frames."""
    rows = [part.betas.expand(len(part.full_pose), -1) for part in estimates]
    return torch.cat(rows).median(0).values


def _smoothed(estimate: Estimate, timelines: list[Timeline], smooth_s: float) -> Estimate:
    """Each stretch filtered by itself; positions along the viewing ray and in depth."""
    lengths = [len(timeline.frame_index) for timeline in timelines]
    poses, pelvises = [], []
    for timeline, pose, pelvis in zip(
        timelines, estimate.full_pose.split(lengths), estimate.pelvis_m.split(lengths), strict=True
    ):
        poses.append(smooth_rotations(pose, timeline.time_s, smooth_s))
        pelvises.append(smooth_values(pelvis, timeline.time_s, smooth_s))
    return replace(estimate, full_pose=torch.cat(poses), pelvis_m=torch.cat(pelvises))


@Stage("body")
def _person(
    estimate: Estimate,
    seen: Observations,
    timelines: list[Timeline],
    body: BodyModel,
    camera: PinholeCamera,
) -> PersonMotion:
    frame_index = np.concatenate([timeline.frame_index for timeline in timelines])
    observed = np.concatenate([timeline.observed for timeline in timelines])
    betas = estimate.betas[None].expand(len(frame_index), -1)
    posed = _posed_joints(estimate, body)
    transl = estimate.pelvis_m - posed[:, 0]
    joints = posed + transl[:, None]
    weak = translation_to_crop_camera(estimate.pelvis_m, estimate.crops_cxcys, camera)

    def array(values: Tensor) -> np.ndarray:
        return values.contiguous().numpy()

    return PersonMotion(
        track=_whole_track(seen.track, frame_index, observed),
        smpl=SmplParams(
            global_orient=array(estimate.full_pose[:, 0]),
            body_pose=array(estimate.full_pose[:, 1:]),
            betas=array(betas),
            transl=array(transl),
        ),
        camera=WeakPerspectiveCamera(
            scale=array(weak[:, 0]), tx=array(weak[:, 1]), ty=array(weak[:, 2])
        ),
        crops_cxcys=array(estimate.crops_cxcys),
        joints_cam=array(joints),
        joints_px=array(project(joints, camera.focal_length_px, camera.center_px)),
        observed=observed,
    )


def _whole_track(track: Track, frame_index: np.ndarray, observed: np.ndarray) -> Track:
    """The track with interpolated boxes and score 0 in frames in which the person was not seen."""
    boxes = [np.interp(frame_index, track.frame_index, column) for column in track.boxes_xyxy.T]
    scores = np.zeros(len(frame_index))
    scores[observed] = track.scores[np.isin(track.frame_index, frame_index)]
    return Track(
        track_id=track.track_id,
        frame_index=frame_index,
        boxes_xyxy=np.stack(boxes, axis=1),
        scores=scores,
    )
