"""From a data set to prepared sequences: what the product sees of each person, and the labels."""

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float

from dtsvibe_cli.datatypes import Observations
from dtsvibe_cli.devices import choose_device
from dtsvibe_cli.errors import ConfigError, DataError, VideoError
from dtsvibe_cli.models.config import ModelConfig, preset
from dtsvibe_cli.progress import OnProgress, silent
from dtsvibe_cli.results import atomic_path
from dtsvibe_cli.smpl import BodyModel
from dtsvibe_cli.smpl_files import load_body_model
from dtsvibe_cli.training.datasets import open_dataset
from dtsvibe_cli.training.datasets.tracks import LabelledTrack, Recording
from dtsvibe_cli.training.labels import make_labels
from dtsvibe_cli.training.observing import Eyes, open_eyes
from dtsvibe_cli.training.sequences import (
    TrainingSequence,
    read_sequence,
    sequence_path,
    write_sequence,
)

MIN_SEEN_FRAMES: Final = 16
"""Of less than a window of the paper nothing is learned."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """Something of the data set that became no sequence."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What :func:`prepare` did."""

    written: tuple[Path, ...]
    kept: tuple[Path, ...]
    """Sequences of an earlier run."""
    skipped: tuple[Skipped, ...]
    minutes: float
    """Length of what was written."""
    report: Path
    """The same as JSON."""


def prepare(
    dataset: str,
    root: Path,
    out: Path,
    *,
    config: str = "lite",
    split: str = "train",
    limit: int | None = None,
    image_network: Path | None = None,
    body_model: Path | None = None,
    flow: str = "auto",
    device: str = "auto",
    on_progress: OnProgress = silent,
) -> Prepared:
    """Prepare a data set for training; what is there already is kept.

    Args:
        dataset: One of :data:`~dtsvibe_cli.training.datasets.DATASETS`.
        root: Its folder.
        out: Folder for the sequences; several data sets may share it. Parts other than ``train``
            go to a folder of their name inside, which training only validates on.
        config: Model configuration that will be trained: ``lite`` or ``paper``.
        split: ``train``, ``validation`` or ``test``.
        limit: Stop after so many recordings (files of the data set) of the part.
        image_network: Weights of the V-CNN of ``paper``.
        body_model: Official SMPL file that will be trained with; None for the built-in body.
        flow: ``auto``, ``dis`` or ``torch``, or the path of RAFT's weights.
        device: ``auto``, ``cpu`` or ``cuda``.
        on_progress: Called with the stage, items done and items in all.

    Raises:
        ConfigError: An option is impossible, or ``out`` was prepared with another configuration.
        DataError: The data set is missing, or nothing of it can be used.
    """
    model = preset(config)
    chosen = choose_device(device)
    recordings = open_dataset(dataset, root, split)
    eyes = open_eyes(model, image_network=image_network, flow=flow, device=chosen)
    folder = out if split == "train" else out / split
    work = _Work(model, eyes, load_body_model(body_model), folder, on_progress)
    total = min(limit or len(recordings), len(recordings))
    done = 0
    for recording in recordings:
        on_progress("recordings", done, total)
        done += work.take(recording)
        if done == limit:
            break
    on_progress("recordings", total, total)
    if not work.written and not work.kept:
        reason = f" ({work.skipped[0].name}: {work.skipped[0].reason})" if work.skipped else ""
        raise DataError(f"Nothing of {root} could be prepared{reason}.")
    return work.finish(out / f"{dataset}_{split}.json")


class _Work:
    """A run through a data set."""

    def __init__(
        self, model: ModelConfig, eyes: Eyes, body: BodyModel, out: Path, on_progress: OnProgress
    ) -> None:
        self._model, self._eyes, self._body, self._out = model, eyes, body, out
        self._on_progress = on_progress
        self.written: list[Path] = []
        self.kept: list[Path] = []
        self.skipped: list[Skipped] = []
        self._minutes = 0.0
        self._frames = 0

    def take(self, recording: Recording) -> bool:
        """Prepare everybody in a recording; what cannot be used is noted, with the reason.

        False when nobody is in it: some data sets tell only inside to which part it belongs.
        """
        anybody = False
        try:
            for track in recording.read():
                anybody = True
                self._take_person(track)
        except (DataError, VideoError) as error:
            self._skip(recording.name, str(error))
            return True
        return anybody

    def _take_person(self, track: LabelledTrack) -> None:
        path = sequence_path(self._out, track.dataset, track.name)
        if path.is_file():
            check_kind(read_sequence(path), path, self._model)
            self.kept.append(path)
            return
        try:
            sequence = prepare_track(track, self._eyes, self._body, self._count_frame)
            self.written.append(write_sequence(self._out, sequence))
        except (DataError, VideoError, ValueError) as error:  # a label may be no number
            self._skip(track.name, str(error))
            return
        self._minutes += sequence.num_frames / sequence.rate_hz / 60

    def _skip(self, name: str, reason: str) -> None:
        self.skipped.append(Skipped(name=name, reason=reason))
        _LOG.warning("%s is left out: %s", name, reason)

    def _count_frame(self) -> None:
        self._frames += 1
        self._on_progress("frames", self._frames, None)

    def finish(self, report: Path) -> Prepared:
        """Write the report."""
        prepared = Prepared(
            written=tuple(self.written),
            kept=tuple(self.kept),
            skipped=tuple(self.skipped),
            minutes=self._minutes,
            report=report,
        )
        with atomic_path(report) as part:
            part.write_text(json.dumps(asdict(prepared), indent=1, default=str) + "\n")
        return prepared


def check_kind(sequence: TrainingSequence, path: Path, config: ModelConfig) -> None:
    """Whether a sequence is what a configuration trains on.

    Raises:
        ConfigError: It was prepared for another one.
    """
    pictures = config.v_cnn != "blazepose"
    if sequence.flow.shape[2] != config.flow_side or (sequence.appearance is not None) != pictures:
        raise ConfigError(
            f"{path} was prepared for another configuration than '{config.name}': choose another "
            "folder, or the --config it was made with."
        )


def prepare_track(
    track: LabelledTrack,
    eyes: Eyes,
    body: BodyModel,
    on_frame: Callable[[], None] = lambda: None,
) -> TrainingSequence:
    """One person's sequence, from the first frame in which the person is seen to the last.

    Args:
        track: The person.
        eyes: What looks at the pictures.
        body: Body model of the training.
        on_frame: Called after each picture.

    Raises:
        DataError: The person is hardly ever there.
        VideoError: A picture cannot be read.
    """
    if not np.isfinite(track.boxes_xyxy).all(1).any():
        raise DataError("no frame says where the person is")
    seen = eyes.observe(track, on_frame)
    count = 0 if seen is None else len(seen.track.frame_index)
    if seen is None or count < MIN_SEEN_FRAMES:
        raise DataError(f"the person is seen in {count} frames; {MIN_SEEN_FRAMES} are needed")
    return _sequence(track, seen, body, eyes.flow_side)


def _sequence(
    track: LabelledTrack, seen: Observations, body: BodyModel, flow_side: int
) -> TrainingSequence:
    rows = seen.track.frame_index
    frames = len(track.boxes_xyxy)
    crops = np.stack(
        [np.interp(np.arange(frames), rows, column) for column in seen.crops_cxcysa.T], axis=1
    )
    squares = seen.crops_cxcysa[:, None, :3]

    def in_crop(points: Float[np.ndarray, "row point 2"]) -> Float[np.ndarray, "row point 2"]:
        return np.asarray((points - squares[..., :2]) / (squares[..., 2:] / 2))

    def placed(values: Float[np.ndarray, "row ..."], kind: type) -> Float[np.ndarray, "frame ..."]:
        everywhere = np.zeros((frames, *values.shape[1:]), kind)
        everywhere[rows] = values
        return everywhere

    keypoints = np.concatenate([in_crop(seen.keypoints[..., :2]), seen.keypoints[..., 2:]], axis=-1)
    flow = seen.flow[:]
    if seen.flow_features is not None:  # finer than the pipeline keeps: see FlowKeeper
        flow = seen.flow_features[:].reshape(-1, 2, flow_side, flow_side)
    labels = make_labels(track, crops[:, :3], body)
    whole = TrainingSequence(
        name=track.name,
        dataset=track.dataset,
        rate_hz=track.rate_hz,
        crops_cxcysa=crops.astype(np.float32),
        seen=np.isin(np.arange(frames), rows),
        landmarks_crop=placed(in_crop(seen.landmarks_px), np.float32),
        visibility=placed(seen.visibility, np.float32),
        world_landmarks_m=placed(seen.world_landmarks_m, np.float32),
        keypoints_crop=placed(keypoints * (keypoints[..., 2:] > 0), np.float32),
        flow=placed(flow, np.float16),
        appearance=None if seen.appearance is None else placed(seen.appearance[:], np.float16),
        full_pose_rotvec=labels.full_pose_rotvec,
        betas=labels.betas,
        has_smpl=labels.has_smpl,
        joints_m=labels.joints_m,
        joints_m_weight=labels.joints_m_weight,
        joints_crop=labels.joints_crop,
        joints_crop_weight=labels.joints_crop_weight,
    )
    return whole.rows(slice(int(rows[0]), int(rows[-1]) + 1))
