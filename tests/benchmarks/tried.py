"""What was tried between the network's input and the finished motion: a Markdown table.

    python tests/benchmarks/tried.py BENCH_DIR CLIPS_DIR CMU_DIR SEQUENCES [--only X]...
                                      [--weights W]

A row is the program with one thing changed, on the two real views (PA-MPJPE, MPJPE and 2D error,
mean of both), on the man of the parkour clip (trusted frames on him, median error) and on the
bundled synthetic clip (MPJPE, PA-MPJPE). The videos are looked at once. BENCH_DIR and CLIPS_DIR as
in real_views.py and real_clips.py; CMU_DIR is the motion that the learned prior is made of;
SEQUENCES is a folder that `dtsvibe synthesize` wrote, from which the learned weights and the usual
places of landmarks come.
"""

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import real_clips
import real_views
from tried_learned import MovedLandmarks, Prior, Weights
from tried_windows import no_turn_by_the_viewing_ray, over_every_other_frame

from dtsvibe_cli import pipeline
from dtsvibe_cli.datatypes import Observations, PersonMotion, PinholeCamera, VideoMotion
from dtsvibe_cli.evaluation.metrics import mpjpe, pa_mpjpe
from dtsvibe_cli.models.checkpoint import load_network
from dtsvibe_cli.smpl import BodyModel
from dtsvibe_cli.smpl_files import load_body_model
from dtsvibe_cli.stages import motion
from dtsvibe_cli.stages.estimation import MotionModel
from dtsvibe_cli.stages.motion import MotionSettings, make_motions
from dtsvibe_cli.stages.refinement import RefineSettings, refine
from dtsvibe_cli.synthetic.truth import load_truth

EXAMPLES = Path(__file__).parents[2] / "examples"
COLUMNS = (
    "PA-MPJPE mm", "MPJPE mm", "2D of box", "man: frames on him", "man: median of box",
    "synthetic MPJPE mm", "synthetic PA-MPJPE mm",
)  # fmt: skip


@dataclass(frozen=True)
class Change:
    """One thing done otherwise."""

    name: str
    settings: MotionSettings = field(default_factory=MotionSettings)
    refine: RefineSettings = field(default_factory=RefineSettings)
    otherwise: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext


def changes(motion_folder: Path, sequences: Path, body: BodyModel) -> Iterator[Change]:
    """All rows; what is learned is learned when its row comes."""
    yield Change("as shipped")
    yield Change("network alone", MotionSettings(refine=False))
    yield Change("a window every 4 frames, not 8", MotionSettings(window_stride=4))
    yield Change("windows over every other frame", otherwise=over_every_other_frame)
    yield Change("no turn by the viewing ray", otherwise=no_turn_by_the_viewing_ray)
    for name, settings in (
        ("no flow term", RefineSettings(flow=0)),
        ("flow term three times", RefineSettings(flow=0.3)),
        ("no directions of bones", RefineSettings(bone_directions=0)),
        ("directions of bones twice", RefineSettings(bone_directions=1)),
        ("network's pose half", RefineSettings(pose_prior=2)),
        ("network's pose twice", RefineSettings(pose_prior=8)),
        ("stature and shape held five times", RefineSettings(shape_prior=0.5)),
        ("outliers from 3 % of the body", RefineSettings(robust_scale=0.03)),
    ):
        yield Change(name, refine=settings)
    prior = Prior.learn(motion_folder, body)
    for name, weight, kept in (
        ("learned pose prior beside the network's pose", 0.02, 4.0),
        ("learned pose prior, network's pose a quarter", 0.02, 1.0),
        ("learned pose prior in place of the network's pose", 0.05, 0.0),
    ):
        settings = RefineSettings(pose_prior=kept)
        yield Change(name, refine=settings, otherwise=partial(prior.added, weight))
    weights = Weights.learn(sequences, body)
    yield Change("learned weights of landmarks and keypoints", otherwise=weights.used)
    places = MovedLandmarks.learn(sequences, body)
    yield Change("landmarks where the networks usually see them", otherwise=places.used)
    feet = replace(places, only=("ankle", "heel", "foot"))
    yield Change("the same of feet alone", otherwise=feet.used)


@dataclass(frozen=True)
class Seen:
    """A video that was looked at."""

    people: tuple[Observations, ...]
    camera: PinholeCamera
    motion: VideoMotion

    def again(
        self, change: Change, network: MotionModel, body: BodyModel
    ) -> tuple[PersonMotion, ...]:
        """The same people's motion, made otherwise."""
        with ExitStack() as stack:
            stack.enter_context(change.otherwise())
            otherwise = partial(refine, settings=change.refine)
            stack.enter_context(patch.object(motion, "refine", otherwise))
            made = make_motions(self.people, network, body, self.camera, change.settings)
            return tuple(each.person for each in made)


def look(video: Path, weights: str, focal: str | None = None) -> Seen:
    """Run the program and keep what it saw."""
    kept: dict[str, Any] = {}

    def keeping(
        people: Sequence[Observations],
        network: MotionModel,
        body: BodyModel,
        camera: PinholeCamera,
        *rest: Any,
    ) -> Any:
        kept.update(people=tuple(_in_memory(person) for person in people), camera=camera)
        return make_motions(people, network, body, camera, *rest)

    with patch.object(pipeline, "make_motions", keeping):
        found, _ = pipeline.estimate_video(video, weights=weights, device="cpu", focal=focal)
    return Seen(motion=found, **kept)


def _in_memory(seen: Observations) -> Observations:
    """Rows that lie in a file go when the run ends."""
    rows = np.arange(len(seen.landmarks_px))
    copies = {
        name: None if getattr(seen, name) is None else np.array(getattr(seen, name)[rows])
        for name in ("flow", "flow_features", "appearance")
    }
    return replace(seen, **copies)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("bench", "clips", "motion", "sequences"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--only", action="append", help="rows whose names hold this text")
    parser.add_argument("--weights", default="lite")
    arguments = parser.parse_args()
    truth = load_truth(EXAMPLES / "synthetic_walk_truth.npz")
    network, body = load_network(arguments.weights, "cpu"), load_body_model()
    views = [
        look(arguments.bench / f"balance_cam0{view}.mp4", arguments.weights) for view in (1, 2)
    ]
    clip, file, who = real_clips.PEOPLE[0]
    parkour = look(arguments.clips / clip, arguments.weights)
    focal = f"{truth.focal_length_px}px"
    synthetic = look(EXAMPLES / "synthetic_walk.mp4", arguments.weights, focal)
    with np.load(arguments.bench / file) as loaded:
        reference = dict(loaded)
    sys.stdout.write("| | " + " | ".join(COLUMNS) + " |\n|---" + "|---" * len(COLUMNS) + "|\n")
    for change in changes(arguments.motion, arguments.sequences, body):
        if not any(text in change.name for text in arguments.only or [""]):
            continue
        scores = []
        for number, view in enumerate(views, start=1):
            found = replace(view.motion, people=view.again(change, network, body))
            with tempfile.TemporaryDirectory() as folder:
                scores.append(real_views.score(arguments.bench, number, found, Path(folder)))
        pa, all_joints, error_2d = (
            (scores[0][key] + scores[1][key]) / 2 for key in ("PA", "MPJPE", "px_frac_box")
        )
        man = real_clips.score(parkour.again(change, network, body), reference, who).split("|")
        drawn = max(synthetic.again(change, network, body), key=lambda one: len(one.joints_cam))
        true = truth.joints_cam[drawn.track.frame_index]
        mine, true = (joints - joints[:, :1] for joints in (drawn.joints_cam, true))
        sys.stdout.write(
            f"| {change.name} | {pa:.1f} | {all_joints:.1f} | {error_2d:.4f} "
            f"|{man[4]}|{man[5]}| {_mean_mm(mpjpe, mine, true):.1f} "
            f"| {_mean_mm(pa_mpjpe, mine, true):.1f} |\n"
        )
        sys.stdout.flush()


def _mean_mm(measure: Callable[..., Any], found: np.ndarray, true: np.ndarray) -> float:
    import torch

    pair = (torch.from_numpy(np.ascontiguousarray(x, np.float64)) for x in (found, true))
    return 1000 * float(measure(*pair).mean())


if __name__ == "__main__":
    main()
