"""The network alone on held-out motion: every clip before many cameras, observations simulated.

The windows of a clip are a function of its name and the seed, so that numbers can be compared, and
do not change when other clips come or go.
"""

import zlib
from pathlib import Path
from typing import Final

import numpy as np
import torch

from dtsvibe_cli.devices import choose_device
from dtsvibe_cli.errors import DataError
from dtsvibe_cli.evaluation.benchmark import AVERAGES, UNITS, made_with
from dtsvibe_cli.evaluation.frame_errors import FrameErrors, measure_joints
from dtsvibe_cli.evaluation.joint_sets import common_with_smpl
from dtsvibe_cli.evaluation.outcome import Evaluation, free_files, write_evaluation
from dtsvibe_cli.evaluation.summary import all_tables
from dtsvibe_cli.evaluation.views import view_yaw_deg
from dtsvibe_cli.geometry.joints import SMPL24
from dtsvibe_cli.models.checkpoint import load_network
from dtsvibe_cli.models.dts_vibe import DtsVibe
from dtsvibe_cli.progress import OnProgress
from dtsvibe_cli.report import describe_weights
from dtsvibe_cli.run_folder import folder_to_write
from dtsvibe_cli.smpl import BodyModel
from dtsvibe_cli.smpl_files import load_body_model
from dtsvibe_cli.training.motion_bank import RATE_HZ, Clip, MotionBank, load_bank
from dtsvibe_cli.training.simulation import Simulator
from dtsvibe_cli.training.validation import network_joints

ACTIONS: Final = {
    "02_04": "jump, balance",
    "03_03": "walk on uneven terrain",
    "005_13": "modern dance",
}
"""What CMU's index says of held-out clips whose names do not."""

VIDEO_RATE_HZ: Final = 30
"""Rate of the simulated observations."""
MIN_WINDOWS: Final = 64
"""Windows of the shortest clip: enough for all view angles."""
TIMES_COVERED: Final = 4
"""How often a longer clip's frames are shown, before another camera each time, on average."""
BATCH: Final = 64


def evaluate_motion(
    folder: Path,
    *,
    weights: str | Path = "lite",
    out: Path | None = None,
    overwrite: bool = False,
    seed: int = 0,
    device: str = "auto",
    cache: Path | None = None,
    on_progress: OnProgress | None = None,
) -> Evaluation:
    """Errors by clip, by action and by view angle on the motion that training holds out.

    Args:
        folder: Motion capture files; held out are :data:`~motion_bank.HELD_OUT` and what lies below
            a folder named ``test``.
        weights: Built-in network by name, or a .safetensors file.
        out: Folder for ``evaluation.md`` and ``evaluation.json``.
        overwrite: Replace an earlier evaluation there.
        seed: Of cameras, bodies and noise.
        device: ``auto``, ``cpu`` or ``cuda``.
        cache: File that keeps the motion once it is read; None to read it each time.
        on_progress: Called with the stage, clips done and clips in all.

    Raises:
        DataError: There is no motion, or none is held out.
        WeightsError: The network is missing or damaged.
    """
    if out is not None:
        free_files(out, overwrite=overwrite)
    chosen = choose_device(device)
    network, body = load_network(weights, chosen), load_body_model()
    if network.picture_cnn is not None:
        raise DataError("This network looks at pictures; motion alone simulates landmarks only.")
    bank = load_bank(folder, body.joint_template.double().numpy(), cache)
    clips = bank.subset(held_out=True).clips
    errors = []
    for done, clip in enumerate(clips, start=1):
        errors.append(clip_errors(clip, network, body, seed=seed, device=chosen))
        if on_progress is not None:
            on_progress("clips", done, len(clips))
    evaluation = _evaluation(errors, weights, body, seed)
    if out is not None:
        with folder_to_write(out):
            write_evaluation(evaluation, out, overwrite=overwrite)
    return evaluation


def clip_errors(
    clip: Clip, network: DtsVibe, body: BodyModel, *, seed: int = 0, device: str = "cpu"
) -> FrameErrors:
    """Errors of many windows of one clip; no second difference crosses from one to the next."""
    simulator = Simulator(
        MotionBank(clips=(clip,)),
        body,
        window=network.window,
        flow_side=network.config.flow_side,
    )
    frames_in_window = network.window * RATE_HZ / VIDEO_RATE_HZ
    windows = max(MIN_WINDOWS, round(TIMES_COVERED * len(clip.rotmats) / frames_in_window))
    first = zlib.crc32(f"{seed} {clip.name}".encode()) * 2**16
    predicted, truth, valid = [], [], []
    on_device = body.to(device)
    network.eval()
    with torch.inference_mode():
        for number, start in enumerate(range(0, windows, BATCH)):
            size = min(BATCH, windows - start)
            batch = simulator.batch(size, first + number, vary=False).to(device)
            joints = network_joints(network, batch, on_device)
            predicted.append(joints.double().cpu().numpy())
            truth.append(batch.joints_m.double().cpu().numpy())
            valid.append(batch.valid.cpu().numpy())
    found = np.concatenate(valid).ravel()
    true_joints = np.concatenate(truth).reshape(-1, len(SMPL24), 3)
    # a gap of a few frames between windows keeps second differences inside them
    starts = np.arange(windows)[:, None] * (network.window + 2)
    frame_index = (starts + np.arange(network.window)).ravel()
    answers = np.concatenate(predicted).reshape(true_joints.shape)
    answers[~found] = np.nan
    return FrameErrors(
        sequence=clip.name,
        person="person",
        actions=np.full(len(found), action_of(clip.name)),
        scored=np.ones(len(found), dtype=bool),
        found=found,
        yaw_deg=view_yaw_deg(true_joints, SMPL24, absolute=False),
        num_tracks=1,
        measures=measure_joints(
            answers, true_joints, frame_index, common_with_smpl(SMPL24), absolute=False
        ),
    )


def action_of(clip: str) -> str:
    """What is done in a clip, from CMU's index or from its name.

    >>> action_of("walking_1"), action_of("03_03"), action_of("07_01")
    ('walking', 'walk on uneven terrain', '07_01')
    """
    return ACTIONS.get(clip) or clip.rstrip("_0123456789") or clip


def _evaluation(
    errors: list[FrameErrors], weights: str | Path, body: BodyModel, seed: int
) -> Evaluation:
    found = sum(int(one.found.sum()) for one in errors)
    total = sum(len(one.found) for one in errors)
    caption = (
        "24 SMPL joints; pelvis aligned, PA by Procrustes; observations simulated, network alone; "
        "frames in which the person was not seen are left out."
    )
    about = {
        "weights": describe_weights(weights),
        "body_model": {"name": body.name, "sha256": body.sha256, "licence": body.licence},
        "settings": {"seed": seed, "vary": False},
    }
    return Evaluation(
        title="Evaluation: held-out motion, observations simulated",
        facts=(
            (
                "Data",
                "held-out motion capture as recorded, random bodies and cameras on every side; "
                "BlazePose's and MoveNet's answers and the flow simulated with their errors",
            ),
            ("Joints", "24 SMPL joints"),
            ("Frames", f"{found} seen of {total}, in windows of their own"),
            ("Frames a second", str(VIDEO_RATE_HZ)),
            ("Boxes", "simulated, off by a little"),
            (
                "Alignment",
                "MPJPE and accelerations: pelvis; PA-MPJPE: Procrustes per frame",
            ),
            ("Units", UNITS),
            ("Averages", AVERAGES),
        ),
        tables=all_tables(errors, caption),
        made_with=made_with([about]),
    )
