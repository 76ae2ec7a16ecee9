"""What the product's own stages see of a labelled person, to be trained on.

The labelled boxes stand for detector and tracker; all else is the pipeline's: how crops follow
boxes, lean, second looks, flow, and the detector's keypoints in every few frames.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn

from dtsvibe_cli.datatypes import Detections, Frame, Observations
from dtsvibe_cli.errors import ConfigError
from dtsvibe_cli.geometry.boxes import iou
from dtsvibe_cli.models.backbone import Backbone
from dtsvibe_cli.models.blazepose import BlazePoseLandmarks, load_blazepose
from dtsvibe_cli.models.config import ModelConfig
from dtsvibe_cli.models.dts_vibe import build
from dtsvibe_cli.stages.detection import Detector, make_detector
from dtsvibe_cli.stages.flow import FlowEstimator, make_flow
from dtsvibe_cli.stages.following import follow_people
from dtsvibe_cli.stages.observation import KEPT_FLOW_SIDE, Observer
from dtsvibe_cli.stages.tracking import TrackedBox
from dtsvibe_cli.training.datasets.tracks import LabelledTrack
from dtsvibe_cli.training.starts import load_starts

DETECT_EVERY: Final = 4
"""As ``dtsvibe run`` looks for people."""

MIN_IOU: Final = 0.3
"""Overlap from which a detection is taken to be of the labelled person."""


class FlowKeeper(nn.Module):
    """In the place of O-CNN while observing: its feature of fine flow is the flow itself."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side
        self.num_features = 2 * side * side

    def extract(self, frames: Float[Tensor, "batch 2 side side"]) -> Float[Tensor, "batch feature"]:
        """The flow, row by row."""
        return frames.flatten(1)

    def forward(
        self, features: Float[Tensor, "window time feature"]
    ) -> Float[Tensor, "window time d_model"]:
        """Nothing is made of it."""
        raise NotImplementedError


class LabelledPerson:
    """A detector that finds one labelled person, with the keypoints that a real one sees there."""

    def __init__(self, detector: Detector, boxes_xyxy: Float[np.ndarray, "frame 4"]) -> None:
        self._detector = detector
        self._boxes = boxes_xyxy

    def __call__(self, frame: Frame) -> Detections:
        """The labelled box; nobody where it is not known."""
        box = self._boxes[frame.index : frame.index + 1]
        if not np.isfinite(box).all():
            return Detections(boxes_xyxy=np.zeros((0, 4)), scores=np.zeros(0))
        found = self._detector(frame)
        keypoints, score = np.zeros((1, 17, 3)), 1.0
        if len(found.boxes_xyxy):
            overlap = iou(box, found.boxes_xyxy.astype(np.float64))[0]
            best = int(overlap.argmax())
            if overlap[best] >= MIN_IOU:
                score = float(found.scores[best])
                if found.keypoints is not None:
                    keypoints = found.keypoints[best : best + 1].astype(np.float64)
        return Detections(boxes_xyxy=box, scores=np.array([score]), keypoints=keypoints)


class OnePerson:
    """A tracker for whom all detections are of the same person."""

    def update(self, frame: Frame, detections: Detections) -> list[TrackedBox]:
        """The first detection, if there is one."""
        return [
            TrackedBox(track_id=1, detection_index=row, box_xyxy=box)
            for row, box in enumerate(detections.boxes_xyxy[:1])
        ]


@dataclass(frozen=True, kw_only=True)
class Eyes:
    """The networks that look at pictures."""

    pose_network: BlazePoseLandmarks
    flow: FlowEstimator
    flow_side: int
    picture_cnn: Backbone | None
    new_detector: Callable[[], Detector]
    """Detectors remember the frames of one video."""
    device: str

    def observe(
        self, track: LabelledTrack, on_frame: Callable[[], None] = lambda: None
    ) -> Observations | None:
        """What is seen of a labelled person, some of whose boxes are known.

        None when the pictures end before the person comes.

        Raises:
            VideoError: A picture cannot be read.
        """
        observer = Observer(
            self.pose_network,
            self.flow,
            picture_cnn=self.picture_cnn,
            flow_cnn=FlowKeeper(self.flow_side) if self.flow_side > KEPT_FLOW_SIDE else None,
            device=self.device,
        )
        detector = LabelledPerson(self.new_detector(), track.boxes_xyxy)
        frames = _frames(track)
        for followed in follow_people(frames, detector, OnePerson(), detect_every=DETECT_EVERY):
            observer.look(followed)
            on_frame()
        seen = observer.tracks().get(1)
        return None if seen is None else seen.observations


def _frames(track: LabelledTrack) -> Iterator[Frame]:
    """The source's pictures from the first in which the person's place is known to the last."""
    time_base = 1 / Fraction(track.rate_hz).limit_denominator(1001)
    known = np.flatnonzero(np.isfinite(track.boxes_xyxy).all(1))
    for index, rgb in zip(range(int(known[-1]) + 1), track.frames, strict=False):
        if index >= known[0]:
            yield Frame(index=index, rgb=rgb, pts=index, time_base=time_base)


def open_eyes(
    config: ModelConfig,
    *,
    image_network: Path | None = None,
    flow: str = "auto",
    device: str = "cpu",
) -> Eyes:
    """The networks that a configuration trains on.

    Args:
        config: Of the network that will be trained.
        image_network: Weights of its V-CNN, when that looks at pictures.
        flow: As of :func:`~dtsvibe_cli.stages.flow.make_flow`.
        device: Where they run.

    Raises:
        ConfigError: The image network is missing, or given where none is used.
        WeightsError: Weights are missing, damaged, or of another network.
    """
    picture_cnn = None
    if config.v_cnn == "resnet50":
        if image_network is None:
            raise ConfigError(
                f"The configuration '{config.name}' looks at pictures: give its ResNet-50 with "
                "--image-network, SPIN's checkpoint as in the paper or torchvision's weights."
            )
        network = build(config)
        load_starts(network, str(image_network), "")
        picture_cnn = network.eval().to(device).picture_cnn
    elif image_network is not None:
        raise ConfigError(f"The configuration '{config.name}' uses no image network: leave it out.")
    return Eyes(
        pose_network=load_blazepose(device),
        flow=make_flow(flow, device),
        flow_side=config.flow_side,
        picture_cnn=picture_cnn,
        new_detector=lambda: make_detector("movenet", device=device),
        device=device,
    )
