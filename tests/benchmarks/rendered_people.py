"""Accuracy on rendered people who move as nobody in the training did: a Markdown table.

    python tests/benchmarks/rendered_people.py MOTION_DIR [--weights NAME|FILE] [--places DIR]
                                               [--scenes N] [--keep DIR] [--device NAME]

Held-out motion is put on dressed bodies before photographs (`dtsvibe synthesize --collect` fetches
them), the product's own networks look at the pictures, and its answers are compared with the truth:
24 joints, pelvis aligned, the true focal length given. What was seen is kept in a folder, so that
another network is measured in a minute. Such people are harder than those of usual videos: cut off,
lying, upside down, blurred. "Clearly seen" are those whose landmarks are off by less than 3 % of
the body's size in the median.
"""

import argparse
import pickle
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dtsvibe_cli.builders.places import places_folder
from dtsvibe_cli.datatypes import Observations, PinholeCamera
from dtsvibe_cli.evaluation.metrics import acceleration_error, mpjpe, pa_mpjpe
from dtsvibe_cli.evaluation.views import VIEWS, view_bins, view_yaw_deg
from dtsvibe_cli.geometry.joints import SMPL24
from dtsvibe_cli.models.checkpoint import load_network
from dtsvibe_cli.smpl_files import load_body_model
from dtsvibe_cli.stages.motion import MotionModel, MotionSettings, make_motions
from dtsvibe_cli.training.rendered import make_studio

CLEAR = 0.03
FRAMES = (64, 96)
SEED = 777


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A rendered person: what was seen, and the truth of every frame of the scene."""

    observations: Observations
    camera: PinholeCamera
    joints_cam: np.ndarray
    """(frame, 24, 3), metres."""
    landmark_error: float
    """Median over what was seen, fraction of the body's extent."""


def film(motion: Path, places: Path, scenes: int, keep: Path) -> Iterator[Watched]:
    """People of all scenes; those filmed before are read from the folder."""
    studio = None
    for index in range(scenes):
        path = keep / f"{SEED}_{index:05d}.pkl"
        if not path.is_file():
            studio = studio or make_studio(
                motion, places, cache=keep / "motion.npz", held_out=True, frames=FRAMES
            )
            people = []
            for person in studio.people(SEED, index):
                seen, truth = person.observations, person.truth
                lens = person.scene.film.cameras[len(person.scene.film.cameras) // 2].K
                at = truth.landmarks_px[seen.track.frame_index]
                extent = (at.max(1) - at.min(1)).max(1)[:, None]
                off = np.linalg.norm(seen.landmarks_px - at, axis=-1) / extent
                people.append(
                    Watched(
                        observations=seen,
                        camera=PinholeCamera(
                            focal_length_px=float(lens[0, 0]),
                            center_px=(float(lens[0, 2]), float(lens[1, 2])),
                            source="option",
                        ),
                        joints_cam=np.asarray(truth.joints_cam),
                        landmark_error=float(np.median(off)),
                    )
                )
            path.write_bytes(pickle.dumps(people))
        yield from pickle.loads(path.read_bytes())


def measure(people: list[Watched], network: MotionModel, settings: MotionSettings) -> np.ndarray:
    """Rows of (person, view, MPJPE, PA-MPJPE, acceleration error), a frame each; millimetres."""
    body, rows = load_body_model(), []
    for number, person in enumerate(people):
        (made,) = make_motions([person.observations], network, body, person.camera, settings)
        truth = torch.from_numpy(person.joints_cam[made.person.track.frame_index]).float()
        found = torch.from_numpy(np.asarray(made.person.joints_cam)).float()
        found, relative = found - found[:, :1], truth - truth[:, :1]
        view = view_bins(view_yaw_deg(truth.double().numpy(), SMPL24))
        acceleration = 1000 * float(acceleration_error(found, relative))
        errors = 1000 * torch.stack([mpjpe(found, relative), pa_mpjpe(found, relative)], 1).numpy()
        size = len(errors)
        rows.append(
            np.column_stack([np.full(size, number), view, errors, np.full(size, acceleration)])
        )
    return np.concatenate(rows)


def table(people: list[Watched], results: dict[str, np.ndarray]) -> str:
    """Means over people of the means over their frames; by view, means over frames."""
    clear = {k for k, person in enumerate(people) if person.landmark_error < CLEAR}
    lines = [
        "| | people | MPJPE mm | PA-MPJPE mm | accel. error mm/frame² |",
        "|---|---|---|---|---|",
    ]

    def row(name: str, rows: np.ndarray, chosen: Callable[[int], bool]) -> None:
        kept = [k for k in range(len(people)) if chosen(k)]
        means = np.mean([rows[rows[:, 0] == k, 2:].mean(0) for k in kept], axis=0)
        lines.append(f"| {name} | {len(kept)} | " + " | ".join(f"{v:.1f}" for v in means) + " |")

    for name, rows in results.items():
        row(f"{name}, all", rows, lambda _: True)
        row(f"{name}, clearly seen", rows, lambda k: k in clear)
    lines += ["", "| seen from | frames | " + " | ".join(f"PA-MPJPE, {n}" for n in results) + " |"]
    lines.append("|---" * (2 + len(results)) + "|")
    for view, name in enumerate(VIEWS):
        shares = [rows[rows[:, 1] == view] for rows in results.values()]
        errors = " | ".join(f"{rows[:, 3].mean():.1f}" for rows in shares)
        lines.append(f"| {name} | {len(shares[0])} | {errors} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("motion", type=Path)
    parser.add_argument("--weights", default="lite")
    parser.add_argument("--places", type=Path, default=places_folder())
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    network = load_network(arguments.weights, arguments.device)
    with tempfile.TemporaryDirectory() as temporary:
        keep = arguments.keep or Path(temporary)
        keep.mkdir(parents=True, exist_ok=True)
        people = list(film(arguments.motion, arguments.places, arguments.scenes, keep))
        results = {
            name: measure(people, network, MotionSettings(refine=refine))
            for name, refine in (("network alone", False), ("refined", True))
        }
    sys.stdout.write(table(people, results))


if __name__ == "__main__":
    main()
