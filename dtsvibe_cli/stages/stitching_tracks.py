"""After the pass: fragments of one person joined, short tracks dropped, and a reason for each.

A tracker loses people who are hidden for longer than it waits, and gives them a new number when
they come back. With the whole video known, two tracks are one person when the second begins soon
after the end of the first, near where the first was heading, at about its size and in the same
colours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Float

from dtsvibe_cli.datatypes import Track
from dtsvibe_cli.geometry.boxes import sizes
from dtsvibe_cli.stages.appearance import likeness

MOTION_WINDOW_S: Final = 0.5
"""Time over which the velocity at a track's end is measured."""
MAX_SIZE_RATIO: Final = 2.0
"""Largest ratio of the sizes at either side of a gap: upright or crouching, near or far."""
MIN_LIKENESS: Final = 0.5
"""Least likeness of the torso's colours, Bhattacharyya coefficient."""
ALLOWED_DISTANCE: Final = 0.5
"""Distance from the expected place that is allowed without any gap, in body sizes."""
ALLOWED_PER_S: Final = 1.0
"""How much more is allowed for each second of the gap, in body sizes."""

_IMPOSSIBLE: Final = 1e6


@dataclass(frozen=True, kw_only=True)
class TrackDecision:
    """One thing that was done to a track, for the report."""

    kind: Literal["kept", "dropped", "merged", "gap_filled"]
    tracker_id: int
    """The tracker's number of the track; people are numbered anew."""
    frames: tuple[int, int]
    """First and last frame that it concerns."""
    reason: str
    """One clause for the reader of the report."""


@dataclass(frozen=True, kw_only=True)
class StitchedTracks:
    """Which of the tracker's identities make up a person, and why."""

    groups: tuple[tuple[int, ...], ...]
    """For each person that is kept, their tracks in the order of time; people by first frame."""
    decisions: tuple[TrackDecision, ...]


def stitch_tracks(
    tracks: Sequence[Track],
    *,
    times_s: Mapping[int, float],
    appearance: Mapping[int, Float[np.ndarray, "56"]] | None = None,
    max_gap_s: float = 2.0,
    min_frames: int | None = None,
    max_people: int | None = None,
) -> StitchedTracks:
    """Who is who in the end: fragments joined, people seen too shortly or too many left out.

    Args:
        tracks: Tracks as the tracker gave them, in any order.
        times_s: Presentation time of each frame index that occurs, seconds.
        appearance: Mean colour histogram of each track that has one; None to go by motion alone.
        max_gap_s: Longest time between the end of a fragment and the beginning of the next.
        min_frames: People with fewer frames are dropped; None for 8 frames or a quarter of a
            second, whichever is more.
        max_people: Keep only so many: those with the largest sum of sizes over their frames.
    """
    tracks = sorted(tracks, key=lambda track: (int(track.frame_index[0]), track.track_id))
    by_id = {track.track_id: track for track in tracks}
    decisions = [decision for track in tracks for decision in _filled_gaps(track)]
    groups, joined = _join(tracks, times_s, appearance or {}, max_gap_s)
    decisions += joined
    if min_frames is None:
        min_frames = max(8, _frames_in(0.25, times_s))

    lengths = [sum(len(by_id[i].frame_index) for i in group) for group in groups]
    weights = [sum(float(sizes(by_id[i].boxes_xyxy).sum()) for i in group) for group in groups]
    long_enough = [n for n, length in enumerate(lengths) if length >= min_frames]
    largest = sorted(long_enough, key=lambda n: (-weights[n], n))[:max_people]
    for n, group in enumerate(groups):
        frames = int(by_id[group[0]].frame_index[0]), int(by_id[group[-1]].frame_index[-1])
        if n in largest:
            reason = f"seen in {lengths[n]} frames"
        elif n in long_enough:
            reason = f"not among the {max_people} largest and longest"
        else:
            reason = f"seen in {lengths[n]} frames, fewer than {min_frames}"
        decisions.append(
            TrackDecision(
                kind="kept" if n in largest else "dropped",
                tracker_id=group[0],
                frames=frames,
                reason=reason,
            )
        )
    return StitchedTracks(
        groups=tuple(groups[n] for n in sorted(largest)), decisions=tuple(decisions)
    )


def _join(
    tracks: Sequence[Track],
    times_s: Mapping[int, float],
    appearance: Mapping[int, Float[np.ndarray, "56"]],
    max_gap_s: float,
) -> tuple[list[tuple[int, ...]], list[TrackDecision]]:
    """Chains of tracks that are one person, by first frame, and why each link was made."""
    if len(tracks) < 2:
        return [(track.track_id,) for track in tracks], []
    from scipy.optimize import linear_sum_assignment  # half a second, for which one has no use

    costs = np.full((len(tracks), len(tracks)), _IMPOSSIBLE)
    for i, first in enumerate(tracks):
        for j, second in enumerate(tracks):
            gap_s = times_s[int(second.frame_index[0])] - times_s[int(first.frame_index[-1])]
            if not 0 < gap_s <= max_gap_s or not _looks_alike(first, second, appearance):
                continue
            distance = _distance_from_expected(first, second, times_s)
            if distance <= ALLOWED_DISTANCE + ALLOWED_PER_S * gap_s:
                costs[i, j] = distance
    links = {int(i): int(j) for i, j in zip(*linear_sum_assignment(costs), strict=True)}
    links = {i: j for i, j in links.items() if costs[i, j] < _IMPOSSIBLE}

    decisions = []
    for i, j in sorted(links.items(), key=lambda link: link[1]):
        last, begin = int(tracks[i].frame_index[-1]), int(tracks[j].frame_index[0])
        decisions.append(
            TrackDecision(
                kind="merged",
                tracker_id=tracks[j].track_id,
                frames=(last, begin),
                reason=f"goes on from track {tracks[i].track_id} after "
                f"{times_s[begin] - times_s[last]:.2f} s, {costs[i, j]:.2f} body sizes from "
                "where it was heading",
            )
        )
    chains = []
    for i in range(len(tracks)):
        if i in links.values():
            continue
        chain = [i]
        while chain[-1] in links:
            chain.append(links[chain[-1]])
        chains.append(tuple(tracks[k].track_id for k in chain))
    return chains, decisions


def _looks_alike(
    first: Track, second: Track, appearance: Mapping[int, Float[np.ndarray, "56"]]
) -> bool:
    """Whether size and colours allow two tracks to be one person."""
    size_ratio = _end_size(first, -1) / _end_size(second, 0)
    if not 1 / MAX_SIZE_RATIO <= size_ratio <= MAX_SIZE_RATIO:
        return False
    if first.track_id not in appearance or second.track_id not in appearance:
        return True
    return likeness(appearance[first.track_id], appearance[second.track_id]) >= MIN_LIKENESS


def _end_size(track: Track, end: Literal[0, -1]) -> float:
    """Typical longer side of the boxes near one end of a track, pixels."""
    near = track.boxes_xyxy[-8:] if end == -1 else track.boxes_xyxy[:8]
    return max(float(np.median(sizes(near))), 1.0)


def _distance_from_expected(first: Track, second: Track, times_s: Mapping[int, float]) -> float:
    """How far a track begins from where another was heading, in body sizes.

    A person out of sight may have gone on as before or stopped, so the expected places are all on
    the straight line between the two; seen from the second track backwards likewise. The mean of
    both distances counts.
    """
    begin_s, end_s = times_s[int(second.frame_index[0])], times_s[int(first.frame_index[-1])]
    size = (_end_size(first, -1) + _end_size(second, 0)) / 2
    last, last_velocity = _motion(first, -1, times_s)
    start, start_velocity = _motion(second, 0, times_s)
    gap_s = begin_s - end_s
    ahead = _distance_to_segment(start, last, last + last_velocity * gap_s)
    behind = _distance_to_segment(last, start, start - start_velocity * gap_s)
    return (ahead + behind) / 2 / size


def _motion(
    track: Track, end: Literal[0, -1], times_s: Mapping[int, float]
) -> tuple[Float[np.ndarray, "2"], Float[np.ndarray, "2"]]:
    """Centre of the box at one end of a track (pixels) and velocity near it (pixels a second)."""
    times = np.array([times_s[int(index)] for index in track.frame_index])
    near = np.abs(times - times[end]) <= MOTION_WINDOW_S
    times, centers = times[near], track.boxes_xyxy[near].reshape(-1, 2, 2).mean(axis=1)
    if len(times) < 2:
        return centers[end], np.zeros(2)
    return centers[end], np.polyfit(times - times[end], centers, 1)[0]


def _distance_to_segment(
    point: Float[np.ndarray, "2"], start: Float[np.ndarray, "2"], end: Float[np.ndarray, "2"]
) -> float:
    along = end - start
    squared_length = max(float(along @ along), 1e-12)
    share = min(max(float((point - start) @ along) / squared_length, 0.0), 1.0)
    return float(np.linalg.norm(point - start - share * along))


def _filled_gaps(track: Track) -> list[TrackDecision]:
    """Runs of frames in which the detector missed the person."""
    missed = np.concatenate([[False], track.scores == 0, [False]])
    edges = np.flatnonzero(missed[1:] != missed[:-1])
    return [
        TrackDecision(
            kind="gap_filled",
            tracker_id=track.track_id,
            frames=(int(track.frame_index[start]), int(track.frame_index[stop - 1])),
            reason=f"not detected, interpolated over {stop - start} frames",
        )
        for start, stop in zip(edges[::2], edges[1::2], strict=True)
    ]


def _frames_in(duration_s: float, times_s: Mapping[int, float]) -> int:
    """Number of frames in a duration, at the video's mean rate."""
    if len(times_s) < 2:
        return 1
    span_s = max(times_s.values()) - min(times_s.values())
    return round(duration_s * (len(times_s) - 1) / span_s)
