"""A data set measured: each sequence run through the pipeline or read back, then the tables."""

import logging
import platform
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from dtsvibe_cli import __version__
from dtsvibe_cli.datatypes import PinholeCamera, VideoInfo, VideoMotion
from dtsvibe_cli.devices import choose_device
from dtsvibe_cli.errors import ConfigError, DataError
from dtsvibe_cli.evaluation.frame_errors import FrameErrors, usual_step
from dtsvibe_cli.evaluation.ground_truth import GroundTruth, TrueSequence, TruthBodies
from dtsvibe_cli.evaluation.joint_sets import JointSet, load_regressor
from dtsvibe_cli.evaluation.measuring import Ruler, measure
from dtsvibe_cli.evaluation.outcome import Evaluation, free_files, write_evaluation
from dtsvibe_cli.evaluation.readers import open_truth
from dtsvibe_cli.evaluation.summary import all_tables
from dtsvibe_cli.evaluation.truth_boxes import TrueBoxDetector, TrueBoxTracker, known_boxes
from dtsvibe_cli.pipeline import estimate_video
from dtsvibe_cli.progress import OnProgress, silent
from dtsvibe_cli.results import load_results, save_results
from dtsvibe_cli.run_folder import folder_to_write
from dtsvibe_cli.smpl_files import check_made_with, load_body_model
from dtsvibe_cli.stages.detection import make_detector

_LOG = logging.getLogger(__name__)

BOXES: Final = ("tracked", "truth")
JOINTS: Final = ("auto", "smpl", "lsp14")

UNITS: Final = (
    "millimetres; accelerations in mm per frame squared of the evaluated frames, within a sequence "
    "and never over a gap; 2D as a fraction of the true box's longer side"
)
AVERAGES: Final = (
    '"all frames": mean over all measured frames of all sequences; "sequences": mean of the '
    "sequences' means, each person of each sequence once"
)


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a data set is measured."""

    boxes: str = "tracked"
    joints: str = "auto"
    regressor: Path | None = None
    body_model: Path | None = None
    male: Path | None = None
    female: Path | None = None

    def __post_init__(self) -> None:
        if self.boxes not in BOXES:
            raise ConfigError(f"There is no choice of boxes {self.boxes!r}: tracked or truth.")
        if self.joints not in JOINTS:
            raise ConfigError(f"There is no joint set {self.joints!r}: {', '.join(JOINTS)}.")
        if self.joints == "lsp14" and self.regressor is None:
            raise ConfigError(
                "The 14 LSP joints need a regressor: give --regressor J_regressor_h36m.npy (SPIN "
                "and VIBE distribute it) and --body-model with SMPL's official file."
            )
        if self.regressor is not None and self.joints != "smpl" and self.body_model is None:
            raise ConfigError(
                "The H36M regressor is made for SMPL's official mesh: give it as --body-model."
            )


def evaluate(
    dataset: Path,
    *,
    format: str = "ours",
    split: str | None = None,
    sequences: Sequence[str] = (),
    results: Path | None = None,
    out: Path | None = None,
    overwrite: bool = False,
    boxes: str = "tracked",
    joints: str = "auto",
    regressor: Path | None = None,
    body_model: Path | None = None,
    male: Path | None = None,
    female: Path | None = None,
    on_progress: OnProgress | None = None,
    **estimate: Any,
) -> Evaluation:
    """Measure the pipeline, or results that it saved, against a data set's truth.

    Args:
        dataset: Its folder.
        format: ``ours``, ``3dpw``, ``h36m``, ``3dhp`` or ``synthetic``.
        split: Part of it; None for the one that the paper measures.
        sequences: Only sequences whose names match one of these patterns (``*`` and ``?``).
        results: Folder of ``NAME_smpl.npz`` to measure; None to run the pipeline.
        out: Folder for ``evaluation.md``, ``evaluation.json`` and each sequence's result.
        overwrite: Replace an earlier evaluation there.
        boxes: ``tracked``: the program's own; ``truth``: people and boxes as the truth has them.
        joints: ``auto``: LSP's 14 when a regressor is given, else SMPL's; ``smpl``; ``lsp14``.
        regressor: ``J_regressor_h36m.npy``.
        body_model: Official SMPL file that predictions are made with; None for the built-in body.
        male: Official male SMPL file, for truth that refers to it.
        female: The same, female.
        on_progress: Called with the stage, items done, and items in all.
        **estimate: Keywords of :func:`~dtsvibe_cli.pipeline.estimate_video`, such as ``weights``.

    Raises:
        DataError: The data set is missing, is laid out otherwise, or nothing of it was found.
        ConfigError: Options that do not go together.
    """
    protocol = Protocol(
        boxes=boxes,
        joints=joints,
        regressor=regressor,
        body_model=body_model,
        male=male,
        female=female,
    )
    if out is not None:
        free_files(out, overwrite=overwrite)
    if not dataset.exists():
        raise DataError(f"There is no {dataset}: give the folder of the data set.")
    if results is not None and not results.is_dir():
        raise DataError(f"There is no folder of results at {results}.")
    bodies, ruler = _bodies_and_ruler(protocol)
    truth = open_truth(dataset, format, bodies, split)
    run = _Run(protocol, ruler, results, out, overwrite, on_progress, estimate)
    if out is None:
        evaluation = run.over(truth, sequences)
    else:
        with folder_to_write(out):
            evaluation = run.over(truth, sequences)
            write_evaluation(evaluation, out, overwrite=overwrite)
    return evaluation


def _bodies_and_ruler(protocol: Protocol) -> tuple[TruthBodies, Ruler]:
    built_in = load_body_model()
    official = None if protocol.body_model is None else load_body_model(protocol.body_model)
    bodies = TruthBodies(
        built_in=built_in,
        neutral=official,
        male=None if protocol.male is None else load_body_model(protocol.male),
        female=None if protocol.female is None else load_body_model(protocol.female),
    )
    body = official or built_in
    if protocol.regressor is None or protocol.joints == "smpl":
        return bodies, Ruler(body=body)
    return bodies, Ruler(body=body, regressor=load_regressor(protocol.regressor, body))


class _Run:
    """One pass over a data set; remembers what its head and remarks will say."""

    def __init__(
        self,
        protocol: Protocol,
        ruler: Ruler,
        results: Path | None,
        out: Path | None,
        overwrite: bool,
        on_progress: OnProgress | None,
        estimate: dict[str, Any],
    ) -> None:
        self._protocol, self._ruler = protocol, ruler
        self._results, self._out, self._overwrite = results, out, overwrite
        self._progress = on_progress or silent
        self._estimate = estimate
        self._joint_set: JointSet | None = None
        self._meta: list[dict[str, Any]] = []
        self._remarks: list[str] = []
        self._rates: set[str] = set()
        self._guessed_focal = 0

    def over(self, truth: GroundTruth, patterns: Sequence[str]) -> Evaluation:
        """Every sequence that is asked for."""
        errors: list[FrameErrors] = []
        done = 0
        for sequence in truth.sequences():
            if patterns and not any(fnmatch(sequence.name, pattern) for pattern in patterns):
                continue
            errors += self._measure(sequence)
            done += 1
            self._progress("sequences", done, None)
        if not errors:
            named = f" named {', '.join(patterns)}" if patterns else ""
            raise DataError(f"The data set has no sequence{named} with a person in it.")
        if not self._meta:
            raise DataError(f"{self._results} holds no result of this data set: {self._remarks[0]}")
        if not any((one.found & one.scored).any() for one in errors):
            raise DataError(
                "The results and the truth have no frame in common: nobody was found where the "
                "truth has somebody. Are these results of the same videos?"
            )
        return self._evaluation(truth, errors)

    def _measure(self, sequence: TrueSequence) -> tuple[FrameErrors, ...]:
        motion = self._motion(sequence)
        joint_set = self._ruler.joint_set(sequence)
        if self._joint_set is not None and joint_set != self._joint_set:
            raise DataError(f"{sequence.name} has other joints than the sequences before it.")
        self._joint_set = joint_set
        if motion is None:
            self._remarks.append(
                f"{sequence.name} has no result ({sequence.file_stem}_smpl.npz is missing): all "
                "its frames count as not found."
            )
            return measure(sequence, _nobody(), self._ruler)
        self._note(sequence, motion)
        return measure(sequence, motion, self._ruler)

    def _motion(self, sequence: TrueSequence) -> VideoMotion | None:
        """The sequence's result: read back, or made now (and kept when there is a folder)."""
        if self._results is not None:
            path = self._results / f"{sequence.file_stem}_smpl.npz"
            if not path.is_file() and sequence.source is not None:
                path = self._results / f"{sequence.source.stem}_smpl.npz"
            return load_results(path) if path.is_file() else None
        if sequence.source is None:
            raise DataError(
                f"The video of {sequence.name} is missing: put it where the data set has it, or "
                "measure saved results with --results."
            )
        kept = None if self._out is None else self._out / f"{sequence.file_stem}_smpl.npz"
        if kept is not None and kept.exists() and not self._overwrite:
            raise ConfigError(f"{kept} exists: give --overwrite to replace it, or another --out.")
        focal = sequence.focal_length_px
        motion, _ = estimate_video(
            sequence.source,
            focal=None if focal is None else f"{focal:.3f}px",
            frame_rate=sequence.frame_rate if sequence.source.is_dir() else None,
            body_model=self._ruler.body,
            on_progress=self._progress,
            **self._estimate | self._true_boxes(sequence),
        )
        if kept is not None:
            save_results(motion, kept)
        return motion

    def _true_boxes(self, sequence: TrueSequence) -> dict[str, Any]:
        if self._protocol.boxes == "tracked":
            return {}
        boxes = known_boxes(sequence)
        inner = self._estimate.get("detector", "movenet")
        if isinstance(inner, str):
            inner = make_detector(inner, device=choose_device(self._estimate.get("device", "auto")))
        return {
            "detector": TrueBoxDetector(boxes, inner),
            "tracker": TrueBoxTracker(boxes),
            "detect_every": 1,
        }

    def _note(self, sequence: TrueSequence, motion: VideoMotion) -> None:
        """What the head of the tables says of this result."""
        self._meta.append(motion.meta)
        steps = {usual_step(person.frame_index) for person in sequence.people}
        self._rates |= {f"{float(motion.video.frame_rate) / step:.4g}" for step in steps}
        if motion.camera.source == "default":
            self._guessed_focal += 1
        check_made_with(self._ruler.body, motion.meta, f"The result of {sequence.name}")

    def _evaluation(self, truth: GroundTruth, errors: list[FrameErrors]) -> Evaluation:
        joints = self._joint_set
        assert joints is not None
        boxes = {
            "tracked": "found and tracked by the program",
            "truth": "those of the ground truth, with who is who",
        }[self._protocol.boxes]
        if self._results is not None:
            boxes = "as in the saved results"
        focal = "the truth's where it gives one"
        if self._guessed_focal:
            focal += f"; assumed for {self._guessed_focal} sequences"
        scored = sum(int(one.scored.sum()) for one in errors)
        found = sum(int((one.found & one.scored).sum()) for one in errors)
        alignment = f"MPJPE and accelerations: {joints.root_title}; PA-MPJPE: Procrustes per frame"
        caption = f"{joints.title}; {joints.root_title} aligned, PA by Procrustes; boxes: {boxes}."
        return Evaluation(
            title=f"Evaluation: {truth.protocol.split(',')[0].split(';')[0]}",
            facts=(
                ("Data", truth.protocol),
                ("Joints", joints.title),
                ("Frames", f"{found} measured of {scored} that the truth has"),
                ("Frames a second", ", ".join(sorted(self._rates))),
                ("Boxes", boxes),
                ("Focal length", focal),
                ("Alignment", f"{alignment}; PVE: pelvis joint"),
                ("Units", UNITS),
                ("Averages", AVERAGES),
            ),
            tables=all_tables(errors, caption),
            remarks=tuple(self._remarks + _remarks(errors, joints)),
            made_with=made_with(self._meta),
        )


def _nobody() -> VideoMotion:
    """A result in which there is nobody."""
    return VideoMotion(
        video=VideoInfo(path=Path(), width_px=1, height_px=1, frame_rate=Fraction(1)),
        camera=PinholeCamera(focal_length_px=1.0, center_px=(0.5, 0.5), source="default"),
        people=(),
        time_s=np.zeros(0),
    )


def _remarks(errors: Sequence[FrameErrors], joints: JointSet) -> list[str]:
    remarks = []
    for one in errors:
        missed = int((one.scored & ~one.found).sum())
        name = f"{one.sequence} / {one.person}"
        if missed:
            remarks.append(f"{name}: not found in {missed} of {int(one.scored.sum())} frames.")
        if one.num_tracks > 1:
            remarks.append(f"{name}: {one.num_tracks} identities in the result.")
        if not one.scored.all():
            remarks.append(
                f"{name}: {int((~one.scored).sum())} frames of the truth lack its root or most "
                "joints and count nowhere."
            )
    if not joints.regressed and joints.root_title != "pelvis":
        remarks.append(
            "Joints of the same name are not quite the same points in the truth and in SMPL (hips "
            "above all): a perfect body would not reach zero."
        )
    return remarks


def made_with(metas: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Versions, the command, and what the results say they were made with."""
    distinct: list[dict[str, Any]] = []
    for meta in metas:
        if meta not in distinct:
            distinct.append(meta)
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "results": distinct,
        "versions": {
            "dtsvibe": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    }
