"""What the networks before ours make of people, rendered, simulated and real: Markdown tables.

    python tests/benchmarks/observation_gap.py MOTION_DIR [--places DIR] [--scenes N] [--clips DIR]
                                               [--keep DIR]

The rendered people of N scenes are looked at by BlazePose and MoveNet and compared with the truth;
beside it stand the same numbers of the noise that training simulates. Real clips have no truth:
they enter the last table only. Samples are kept in a folder, so that the tables can be made again.
"""

import argparse
import sys
import tempfile
import warnings
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from dtsvibe_cli.builders.places import places_folder
from dtsvibe_cli.landmarks import LandmarkRegressor
from dtsvibe_cli.models.blazepose import load_blazepose
from dtsvibe_cli.smpl import BodyModel
from dtsvibe_cli.smpl_files import load_body_model
from dtsvibe_cli.stages.detection import make_detector
from dtsvibe_cli.stages.flow import make_flow
from dtsvibe_cli.stages.following import follow_people
from dtsvibe_cli.stages.observation import Observer
from dtsvibe_cli.stages.tracking import make_tracker
from dtsvibe_cli.training import observation_noise, simulation
from dtsvibe_cli.training.gap_statistics import found_only, is_lost
from dtsvibe_cli.training.gap_tables import SECTIONS, blind_rows
from dtsvibe_cli.training.motion_bank import MotionBank, load_bank
from dtsvibe_cli.training.observation_gap import GapSample, sample_of
from dtsvibe_cli.training.rendered import make_studio
from dtsvibe_cli.training.windows import draw_windows
from dtsvibe_cli.video import probe, read_frames

SIMULATED_WINDOWS = 160
SIMULATED_FRAMES = 48
MIN_ROWS = 8


def film(motion: Path, places: Path, scenes: int, seed: int, keep: Path, body: BodyModel) -> None:
    """Samples of rendered people, those that are not there yet."""
    studio = make_studio(motion, places, cache=keep / "motion_bank.npz", frames=(32, 36))
    landmarks_of = LandmarkRegressor(body)
    for index in range(scenes):
        mark = keep / f".{seed}_{index}.done"
        if mark.is_file():
            continue
        for number, person in enumerate(studio.people(seed, index)):
            sample = sample_of(person, body, landmarks_of)
            sample.save(keep / f"rendered_{seed}_{index:05d}_{number}.npz")
        mark.touch()


def simulated(bank: MotionBank, body: BodyModel, seed: int = 1) -> list[GapSample]:
    """Samples of the noise that training simulates."""
    windows, length = SIMULATED_WINDOWS, SIMULATED_FRAMES
    simulator = simulation.Simulator(bank, body, window=length, flow_side=8)
    clean = draw_windows(bank, windows, length, np.random.default_rng(seed))
    generator = torch.Generator().manual_seed(seed)
    pose, betas = clean.full_pose.flatten(0, 1), clean.betas.repeat_interleave(length, 0)
    kept: list[torch.Tensor] = []
    hide = observation_noise._hidden

    def remember(*arguments):  # type: ignore[no-untyped-def]
        kept.append(hide(*arguments))
        return kept[-1]

    with torch.no_grad(), patch.object(observation_noise, "_hidden", remember):
        posed = body.pose(pose, betas)
        view = simulation._View(
            pelvis_m=posed.joints[:, :1],
            distance_m=clean.distance_m.repeat_interleave(length)[:, None],
            shape=(windows, length),
        )
        image = view.project(simulator.landmarks_of(posed, betas))
        true = simulation._random_crops(image, generator).coordinates(image)
        world = simulator._world(pose, windows)
        noisy = observation_noise.add_noise(true, world, generator)
    return [
        GapSample(
            frame=np.arange(length),
            given=noisy.landmarks[k].numpy(),
            visibility=noisy.visibility[k].numpy(),
            given_world_m=noisy.world_m[k].numpy(),
            keypoints=noisy.keypoints[k].numpy(),
            true=true[k].numpy(),
            true_world_m=world[k].numpy(),
            hidden=kept[0][k].numpy(),
            root=clean.full_pose[k, :, 0].numpy(),
            rate_hz=np.array(30.0),
        )
        for k in range(windows)
    ]


def watched(clip: Path) -> list[GapSample]:
    """Tracks of a real clip; nothing is true of them."""
    rate = float(probe(clip).frame_rate)
    observer = Observer(load_blazepose(), make_flow("dis"))
    tracker = make_tracker("bytetrack", looks_per_second=rate / 4)
    for frame in follow_people(read_frames(clip), make_detector("movenet"), tracker):
        observer.look(frame)
    samples = []
    for track in observer.tracks().values():
        seen = track.observations
        rows = len(seen.time_s)
        if rows < MIN_ROWS:
            continue
        samples.append(
            GapSample(
                frame=seen.track.frame_index,
                given=seen.landmarks_px,
                visibility=seen.visibility,
                given_world_m=seen.world_landmarks_m,
                keypoints=seen.keypoints,
                true=seen.landmarks_px,
                true_world_m=np.zeros((rows, 33, 3)),
                hidden=np.zeros((rows, 33), bool),
                root=np.zeros((rows, 3, 3)),
                rate_hz=np.array(rate),
                crop_side=seen.crops_cxcysa[:, 2],
            )
        )
    return samples


def report(rendered: list[GapSample], noise: list[GapSample], real: list[GapSample]) -> str:
    """All tables."""
    lost = np.concatenate([is_lost(sample) for sample in rendered])
    found = [kept for sample in rendered if len((kept := found_only(sample)).frame) >= MIN_ROWS]
    lines = [
        f"Rendered: {len(rendered)} people, {len(lost)} frames, of which {100 * lost.mean():.1f} % "
        f"are lost and left out. Simulated: {len(noise)} windows. Real: {len(real)} tracks."
    ]
    for title, section in SECTIONS.items():
        without_truth = section is blind_rows and bool(real)
        columns = ["rendered", "simulated", *(["real clips"] if without_truth else [])]
        lines += ["", f"## {title}", "", "| | " + " | ".join(columns) + " |"]
        lines.append("|---" * (len(columns) + 1) + "|")
        others = [dict(section(noise)), *([dict(section(real))] if without_truth else [])]
        for name, value in section(found):
            values = [value, *(other.get(name, float("nan")) for other in others)]
            lines.append(f"| {name} | " + " | ".join(f"{v:.4g}" for v in values) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("motion", type=Path)
    parser.add_argument("--places", type=Path, default=places_folder())
    parser.add_argument("--scenes", type=int, default=120)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--clips", type=Path)
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # empty groups give NaN
    body = load_body_model()
    with tempfile.TemporaryDirectory() as temporary:
        keep = arguments.keep or Path(temporary)
        keep.mkdir(parents=True, exist_ok=True)
        film(arguments.motion, arguments.places, arguments.scenes, arguments.seed, keep, body)
        rendered = [GapSample.load(path) for path in sorted(keep.glob("rendered_*.npz"))]
        joints = body.joint_template.double().numpy()
        bank = load_bank(arguments.motion, joints, keep / "motion_bank.npz")
        clips = sorted(arguments.clips.glob("*.mp4")) if arguments.clips else []
        real = [sample for clip in clips for sample in watched(clip)]
        noise = simulated(bank.subset(held_out=False), body)
        sys.stdout.write(report(rendered, noise, real))


if __name__ == "__main__":
    main()
