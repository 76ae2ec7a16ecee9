"""How well the body sits on the people of two real clips: a Markdown table.

    python tests/benchmarks/real_clips.py CLIPS_DIR BENCH_DIR [--weights NAME|FILE]

CLIPS_DIR holds parkour_several_people.mp4 (that of `make demo`) and basketball_one_person.mp4,
BENCH_DIR their reference tracks parkour_2d.npz and basketball_2d.npz (the median of six passes of
MediaPipe's heavy model, with doubtful frames and joints marked). Neither is part of the project.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from dtsvibe_cli import PersonMotion, estimate_video

BLAZEPOSE = [11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28]
SMPL = [16, 17, 18, 19, 20, 21, 1, 2, 4, 5, 7, 8]
OTHER_SIDE = [1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10]
PEOPLE = (
    ("parkour_several_people.mp4", "parkour_2d.npz", "man"),
    ("parkour_several_people.mp4", "parkour_2d.npz", "woman"),
    ("basketball_one_person.mp4", "basketball_2d.npz", "p0"),
)


def _placed(person: PersonMotion, num_frames: int) -> np.ndarray:
    """The twelve joints in every frame of the clip, NaN where the person is not tracked."""
    joints = np.full((num_frames, len(SMPL), 2), np.nan)
    joints[person.track.frame_index] = person.joints_px[:, SMPL]
    return joints


def score(people: tuple[PersonMotion, ...], reference: dict[str, np.ndarray], who: str) -> str:
    """One row: ids, share of frames, errors, for the frames that the reference trusts."""
    truth = reference[f"{who}_xy"][:, BLAZEPOSE].astype(float)
    doubtful = reference[f"{who}_joint_bad"][:, BLAZEPOSE]
    trusted = ~reference[f"{who}_absent"] & ~reference[f"{who}_unreliable"]
    body = reference[f"{who}_xy"].astype(float)
    side = (body.max(1) - body.min(1)).max(1)[:, None]
    errors = []
    for person in people:
        error = np.linalg.norm(_placed(person, len(truth)) - truth, axis=-1) / side
        errors.append(np.where(doubtful, np.nan, error))
    own = min(range(len(people)), key=lambda k: np.nanmedian(np.append(errors[k][trusted], 9.0)))
    near = [
        person.track.track_id
        for person, error in zip(people, errors, strict=True)
        if (np.nanmedian(error[trusted], axis=1) < 0.2).sum() > 3
    ]
    frames = np.array(
        [row[~np.isnan(row)].mean() if (~np.isnan(row)).any() else 9.0 for row in errors[own]]
    )
    joints = _placed(people[own], len(truth))
    straight = np.linalg.norm(joints - truth, axis=-1).mean(1)
    crossed = np.linalg.norm(joints[:, OTHER_SIDE] - truth, axis=-1).mean(1)
    return (
        f"| {who} | {trusted.sum()} | {len(near)} | {(frames[trusted] < 0.1).mean():.3f} "
        f"| {np.median(frames[trusted]):.4f} | {(crossed[trusted] < straight[trusted]).sum()} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path)
    parser.add_argument("bench", type=Path)
    parser.add_argument("--weights", default="lite")
    arguments = parser.parse_args()
    lines = [
        "| person | trusted frames | ids | mean joint error < 10 % of box "
        "| median error of box | frames with left and right exchanged |",
        "|---|---|---|---|---|---|",
    ]
    motions = {}
    for clip, file, who in PEOPLE:
        if clip not in motions:
            motions[clip] = estimate_video(
                arguments.clips / clip, weights=arguments.weights, device="cpu"
            )[0]
        with np.load(arguments.bench / file) as reference:
            lines.append(score(motions[clip].people, dict(reference), who))
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
