"""Where the walker is and where the feet stand: the script of a clip, without any joint angle.

World coordinates: metres, x right, y up, z towards the first camera position, floor at y = 0. The
walker follows a circle around the origin, stops, turns to the camera, acts, and walks on; the
script repeats itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.interpolate import PchipInterpolator

SCRIPT_S = 6.0
"""Length of one round of the script: about half walking, half acting."""
_FIRST_TIME_S = 0.5
"""A clip starts here in the script, so that the first frame shows somebody already walking."""
_RADIUS_M = 1.25
_START_ANGLE = np.deg2rad(-108.0)  # behind the origin, walking to the right as the camera sees it
_SPEED_MPS = 1.15
_STEP_S = 0.5  # 120 steps a minute: a brisk ordinary walk
_SWING_S = 0.38
_STEP_WIDTH_M = 0.085
"""Half the distance between the two feet's lines."""


@dataclass(frozen=True, kw_only=True)
class BodyPath:
    """The walker's place on the floor at given times."""

    position: Float[np.ndarray, "time 2"]
    """x and z, metres."""
    heading: Float[np.ndarray, " time"]
    """Radians about y; 0 looks along z, at the camera."""
    speed: Float[np.ndarray, " time"]
    """Metres a second."""


@dataclass(frozen=True, kw_only=True)
class FootMotion:
    """One foot at given times; its ball is SMPL's ``left_foot`` or ``right_foot`` joint."""

    ball: Float[np.ndarray, "time 3"]
    """Position of the ball, metres; its y counts from the ball's height in flat stance."""
    yaw: Float[np.ndarray, " time"]
    """Heading of the foot, radians about y."""
    pitch: Float[np.ndarray, " time"]
    """Radians; positive with the heel up."""
    contact: Bool[np.ndarray, " time"]
    """Whether the ball bears on the floor."""
    phase: Float[np.ndarray, " time"]
    """Fraction of the swing done; 0 in stance."""


@dataclass(frozen=True, kw_only=True)
class _Step:
    lift_s: float
    land_s: float
    start: Float[np.ndarray, " 3"]
    """x, z and heading before the step."""
    end: Float[np.ndarray, " 3"]
    """x, z and heading after it."""


def script_time(num_frames: int, frame_rate: float) -> Float[np.ndarray, " frame"]:
    """Time of each frame in the script, seconds."""
    return _FIRST_TIME_S + np.arange(num_frames) / frame_rate


def keyframed(
    time_s: Float[np.ndarray, " time"], keys: Sequence[tuple[float | int, float | int]]
) -> Float[np.ndarray, " time"]:
    """A smooth track through (time within the script, value) keys, repeated every round."""
    times = np.array([key[0] for key in keys])
    values = np.array([key[1] for key in keys])
    track = PchipInterpolator(
        np.concatenate([times - SCRIPT_S, times, times + SCRIPT_S]), np.tile(values, 3)
    )
    return np.asarray(track(np.mod(time_s, SCRIPT_S)), dtype=np.float64)


def body_path(time_s: Float[np.ndarray, " time"]) -> BodyPath:
    """Place, heading and speed of the walker; any times, also beyond one round."""
    fine = np.arange(-1.0, float(np.max(time_s, initial=0.0)) + 1.0, 0.005)
    speed = _SPEED_MPS * keyframed(fine, [(0, 0), (0.45, 1), (2.35, 1), (2.95, 0), (5.6, 0)])
    walked = np.cumsum(speed) * 0.005
    distance = np.interp(time_s, fine, walked - np.interp(0.0, fine, walked))
    angle = _START_ANGLE + distance / _RADIUS_M
    position = _RADIUS_M * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    # The tangent (-sin a, cos a) in (x, z) has the heading -a; while acting, turn to the camera.
    facing = keyframed(time_s, [(0, 0), (0.4, 0), (2.3, 0), (3.1, 1), (5.3, 1), (5.7, 0)])
    aside = np.mod(angle + np.pi, 2 * np.pi) - np.pi
    heading = -angle + facing * np.clip(aside, -0.6, 0.6)
    return BodyPath(position=position, heading=heading, speed=np.interp(time_s, fine, speed))


def _foothold(when_s: float, side: int) -> Float[np.ndarray, " 3"]:
    """x, z and heading of a foot (+1 left, -1 right) that stands under the body at one time."""
    path = body_path(np.array([when_s]))
    heading = float(path.heading[0])
    left = np.array([np.cos(heading), -np.sin(heading)])
    return np.append(path.position[0] + side * _STEP_WIDTH_M * left, heading)


def _steps(side: int, until_s: float) -> list[_Step]:
    """One foot's steps: seven a round for both feet, the last ones bring the feet together."""
    first_lifts = [0.05 + _STEP_S * count for count in range(7)]
    own = first_lifts[0::2] if side > 0 else first_lifts[1::2]
    lifts = [
        cycle * SCRIPT_S + lift for cycle in range(int(until_s // SCRIPT_S) + 1) for lift in own
    ]
    place = _foothold(0.0, side)
    steps = []
    for lift, following in zip(lifts, [*lifts[1:], np.inf], strict=True):
        stance_s = min(following - lift, 2 * _STEP_S) - _SWING_S
        end = _foothold(lift + _SWING_S + stance_s / 2, side)
        steps.append(_Step(lift_s=lift, land_s=lift + _SWING_S, start=place, end=end))
        place = end
    return steps


def _smooth(x: Float[np.ndarray, " time"]) -> Float[np.ndarray, " time"]:
    """Minimum jerk from 0 to 1."""
    x = np.clip(x, 0, 1)
    return np.asarray(x**3 * (10 - 15 * x + 6 * x**2))


def foot_motion(time_s: Float[np.ndarray, " time"], side: int, heel_to_ball_m: float) -> FootMotion:
    """Planted, rolling over the ball, swinging, landing on the heel; +1 is left, -1 right."""
    place = np.tile(_foothold(0.0, side), (len(time_s), 1))
    height, pitch, phase = np.zeros_like(time_s), np.zeros_like(time_s), np.zeros_like(time_s)
    for step in _steps(side, float(np.max(time_s, initial=0.0))):
        swing = (time_s - step.lift_s) / (step.land_s - step.lift_s)
        place = np.where(
            swing[:, None] > 0,
            step.start + _smooth(swing)[:, None] * (step.end - step.start),
            place,
        )
        size = np.clip(np.linalg.norm(step.end[:2] - step.start[:2]) / 1.0, 0.15, 1.0)
        inside = (swing > 0) & (swing < 1)
        phase = np.where(inside, swing, phase)
        height += np.where(
            inside, (0.03 + 0.03 * size) * np.sin(np.pi * np.clip(swing, 0, 1)) ** 2, 0
        )
        # heel off before the lift, most bent early in the swing, toes up before landing, then flat
        since = time_s - step.lift_s
        keys = np.array([-0.17, 0.0, 0.07, 0.30, _SWING_S, _SWING_S + 0.10])
        degrees = np.array([0.0, 32.0, 42.0, -14.0, -14.0, 0.0]) * size
        track = np.asarray(
            PchipInterpolator(keys, np.deg2rad(degrees))(np.clip(since, keys[0], keys[-1]))
        )
        pitch += track
    # toes up: the heel is the pivot, so the ball is off the floor
    height += heel_to_ball_m * np.sin(np.clip(-pitch, 0, None))
    ball = np.stack([place[:, 0], height, place[:, 1]], axis=-1)
    return FootMotion(
        ball=ball,
        yaw=place[:, 2],
        pitch=pitch,
        contact=(height < 0.003) & (phase == 0),
        phase=phase,
    )
