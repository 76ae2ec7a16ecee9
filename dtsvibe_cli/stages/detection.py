"""Where are people in a frame: MoveNet (default, weights carried) or an ultralytics model."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8

from dtsvibe_cli.datatypes import Detections, Frame
from dtsvibe_cli.errors import WeightsError
from dtsvibe_cli.geometry import boxes
from dtsvibe_cli.models.movenet import load_movenet, prepare_image
from dtsvibe_cli.stages.ultralytics_offline import import_ultralytics, ultralytics_folder

_LOG = logging.getLogger(__name__)


@runtime_checkable
class Detector(Protocol):
    """Finds people in the frames of one video, called in the order of time."""

    def __call__(self, frame: Frame) -> Detections:
        """The people in the frame."""
        ...


def make_detector(
    name: str, *, device: torch.device | str = "cpu", allow_download: bool = False
) -> Detector:
    """A new detector, for one video.

    Args:
        name: ``movenet``, the name of an ultralytics model (``yolo11n``), or a path of weights.
        device: Where the network runs.
        allow_download: Whether ultralytics may fetch weights that are not here.

    Raises:
        WeightsError: The weights are not here, or are not those of a model that finds people.
    """
    if name == "movenet":
        return MoveNetDetector(device)
    return UltralyticsDetector(name, device=device, allow_download=allow_download)


@dataclass(frozen=True, kw_only=True)
class _Expected:
    """Somebody who was there in the last frames."""

    box_xyxy: Float[np.ndarray, "4"]
    """Last known place."""
    num_unsure: int
    """Frames since this person was last seen for sure."""


class MoveNetDetector:
    """MoveNet MultiPose at the scale a video needs, with a closer look where somebody was lost.

    The network knows people best who are about 100 to 250 pixels tall. So:

    * a frame is shrunk to 256 pixels (longest side). When nobody is found for sure, or somebody
      smaller than 40 % of the picture's longest side, it is seen again at 512, and the next frames
      go straight to 512 for as long as that holds. Every eighth frame is seen at 512 in any case,
      since somebody small may have come;
    * while a single small person is there and seen for sure, only every other frame is seen whole,
      and of the rest a square around the last place, at about the same scale and at less than half
      the cost. Who comes meanwhile is found one look later;
    * somebody who was there a moment ago and is not found now (blur, glare, odd poses) is looked
      for in a square around the last place, brought to 256 pixels, where they are about 170 pixels
      tall; until they have not been seen for sure in four frames running.

    It remembers the last frames, so use one detector for one video.

    Args:
        device: Where the network runs.
        min_score: People less sure than this are left out, 0 to 1. Trackers make use of weak
            detections, so it is lower than it would be for still pictures.
    """

    SMALL_SIDE_PX: Final = 256
    LARGE_SIDE_PX: Final = 512
    SMALL_PERSON: Final = 0.4
    """Share of the picture's longest side under which a person is small."""
    LARGE_EVERY: Final = 8
    WHOLE_EVERY: Final = 2
    SURE_SCORE: Final = 0.25
    """As the trackers' threshold for a new person; MoveNet's own examples use 0.2 to 0.3."""
    MAX_UNSURE: Final = 4
    CLOSER_LOOK_SCALE: Final = 1.5
    """Side of the closer look relative to the person's longer side."""
    MIN_KEYPOINT_SCORE: Final = 0.2

    def __init__(self, device: torch.device | str = "cpu", min_score: float = 0.1) -> None:
        self._network = load_movenet(device)
        self._device = torch.device(device)
        self._min_score = min_score
        self._num_frames = 0
        self._stay_large = False
        self._expected: tuple[_Expected, ...] = ()

    def __call__(self, frame: Frame) -> Detections:
        """The people in the frame, with COCO keypoints."""
        near = self._look_at_the_only_one(frame.rgb)
        if near is not None and (near.scores >= self.SURE_SCORE).any():
            found = near
        else:
            found = self._look_at_frame(frame.rgb)
            for expected in self._expected:
                if not _same_place(expected.box_xyxy, found).any():
                    if near is None:
                        near = self._look_closer(frame.rgb, expected.box_xyxy)
                    found, near = _together(found, near), None
        self._expected = self._expect(found)
        self._num_frames += 1
        return found

    def _look_at_the_only_one(self, rgb: UInt8[np.ndarray, "height width 3"]) -> Detections | None:
        """A small person who is there alone; None when the whole frame has to be looked at."""
        if not self._stay_large or len(self._expected) != 1:
            return None
        (only,) = self._expected
        if only.num_unsure or self._num_frames % self.WHOLE_EVERY == 0:
            return None
        return self._look_closer(rgb, only.box_xyxy)

    def _look_at_frame(self, rgb: UInt8[np.ndarray, "height width 3"]) -> Detections:
        longest = max(rgb.shape[:2])
        large_side = max(self.SMALL_SIDE_PX, min(longest, self.LARGE_SIDE_PX))
        large = self._stay_large or self._num_frames % self.LARGE_EVERY == 0
        found = self._run(rgb, large_side if large else self.SMALL_SIDE_PX)
        if not large and large_side > self.SMALL_SIDE_PX and self._too_small(found, longest):
            found = self._run(rgb, large_side)
        self._stay_large = self._too_small(found, longest)
        return found

    def _too_small(self, found: Detections, longest: int) -> bool:
        sure = found.boxes_xyxy[found.scores >= self.SURE_SCORE]
        return len(sure) == 0 or bool(boxes.sizes(sure).min() < self.SMALL_PERSON * longest)

    def _look_closer(
        self, rgb: UInt8[np.ndarray, "height width 3"], box_xyxy: Float[np.ndarray, "4"]
    ) -> Detections:
        """The people who may be the one that was in the box, in pixels of the full image."""
        height, width = rgb.shape[:2]
        square = boxes.crops_to_xyxy(boxes.square_crops(box_xyxy, self.CLOSER_LOOK_SCALE))
        square = boxes.move_inside(square, width, height)  # of one shape: quicker than cut off
        left, top, right, bottom = np.rint(boxes.clip(square, width, height)).astype(int)
        near = self._run(rgb[top:bottom, left:right], self.SMALL_SIDE_PX)
        assert near.keypoints is not None
        near = Detections(
            boxes_xyxy=near.boxes_xyxy + np.array([left, top, left, top]),
            scores=near.scores,
            keypoints=near.keypoints + np.array([left, top, 0]),
        )
        return _select(near, np.flatnonzero(_same_place(box_xyxy, near)))

    def _expect(self, found: Detections) -> tuple[_Expected, ...]:
        """Whom to look for in the next frame: those seen for sure now or a moment ago."""
        sure = _select(found, np.flatnonzero(found.scores >= self.SURE_SCORE))
        expected = [_Expected(box_xyxy=box, num_unsure=0) for box in sure.boxes_xyxy]
        for old in self._expected:
            if _same_place(old.box_xyxy, sure).any() or old.num_unsure + 1 == self.MAX_UNSURE:
                continue
            weak = found.boxes_xyxy[_same_place(old.box_xyxy, found)]
            box = weak[0] if len(weak) else old.box_xyxy
            expected.append(_Expected(box_xyxy=box, num_unsure=old.num_unsure + 1))
        return tuple(expected)

    def _run(self, rgb: UInt8[np.ndarray, "height width 3"], longest_side: int) -> Detections:
        """The people that the network sees in a picture brought to the given size."""
        image, scale = prepare_image(rgb, longest_side)
        with torch.inference_mode():
            people = self._network(image.to(self._device), min_score=self._min_score)
        keypoints = people.keypoints.double().cpu().numpy()
        keypoints[..., :2] /= scale
        # The network's own box often cuts hands and feet, its keypoints alone cut head and toes.
        outlines = boxes.around_points(
            people.boxes_xyxy.double().cpu().numpy() / scale, keypoints, self.MIN_KEYPOINT_SCORE
        )
        height, width = rgb.shape[:2]
        found = Detections(
            boxes_xyxy=boxes.clip(outlines, width, height),
            scores=people.scores.double().cpu().numpy(),
            keypoints=keypoints,
        )
        return _select(found, np.flatnonzero(boxes.areas(found.boxes_xyxy) > 0))


class UltralyticsDetector:
    """Any ultralytics model that knows the class ``person``; pose models give keypoints as well.

    Args:
        name_or_path: A weights file, or the name of a model whose weights are in the cache folder.
        device: Where the network runs.
        min_score: People less sure than this are left out, 0 to 1.
        allow_download: Whether ultralytics may fetch weights that are not here.

    Raises:
        WeightsError: The weights are not here, or are not those of a model that finds people.
    """

    def __init__(
        self,
        name_or_path: str | Path,
        *,
        device: torch.device | str = "cpu",
        min_score: float = 0.1,
        allow_download: bool = False,
    ) -> None:
        path = _find_weights(name_or_path, allow_download=allow_download)
        try:
            self._model: Any = import_ultralytics().YOLO(path)
            names: dict[int, str] = self._model.names
        except Exception as error:
            # What is raised depends on how the file is unlike weights: any kind of error occurs.
            raise WeightsError(
                f"{path} is no weights file that ultralytics can read; give another --detector."
            ) from error
        people = [index for index, name in names.items() if name == "person"]
        if not people:
            raise WeightsError(f"The model {path} has no class 'person'; give another --detector.")
        self._options = {
            "classes": people,
            "conf": min_score,
            "device": str(device),
            "verbose": False,
        }

    def __call__(self, frame: Frame) -> Detections:
        """The people in the frame."""
        bgr = np.ascontiguousarray(frame.rgb[..., ::-1])
        result = self._model.predict(bgr, **self._options)[0].cpu().numpy()
        keypoints = None if result.keypoints is None else result.keypoints.data
        if keypoints is not None and keypoints.shape[1:] != (17, 3):
            keypoints = None  # not COCO's
        return Detections(
            boxes_xyxy=result.boxes.xyxy.reshape(-1, 4),
            scores=result.boxes.conf,
            keypoints=keypoints,
        )


def _find_weights(name_or_path: str | Path, *, allow_download: bool) -> Path:
    """The weights file itself, or the one of that name in the cache folder."""
    given = Path(name_or_path)
    if given.is_file():
        return given
    if given.parent != Path() or given.suffix not in ("", ".pt"):
        raise WeightsError(f"There is no weights file {given}; check the path given as --detector.")
    cached = ultralytics_folder() / given.with_suffix(".pt").name
    if cached.is_file():
        return cached
    if allow_download:
        return _download(cached)
    raise WeightsError(
        f"There is no detector {given}: give --detector movenet, or the path of a .pt file, or put "
        f"{cached.name} into {cached.parent}, or let it be downloaded with --allow-download."
    )


def _download(target: Path) -> Path:
    """Let ultralytics fetch the weights that have the target's name."""
    _LOG.info("Downloading %s from ultralytics' releases.", target.name)
    downloads = import_ultralytics("ultralytics.utils.downloads")
    try:
        # without a progress bar, which would go to stdout; it may answer with a newer name
        fetched = Path(downloads.attempt_download_asset(target, progress=False))
    except Exception as error:
        raise WeightsError(
            f"{target.name} could not be downloaded ({error}): give the path of a .pt file, or "
            "--detector movenet."
        ) from error
    if not fetched.is_file():
        raise WeightsError(
            f"Ultralytics has no weights named {target.name}: give another --detector, such as "
            "yolo11n or movenet."
        )
    return fetched


def _select(found: Detections, rows: Int[np.ndarray, " row"]) -> Detections:
    return Detections(
        boxes_xyxy=found.boxes_xyxy[rows],
        scores=found.scores[rows],
        keypoints=None if found.keypoints is None else found.keypoints[rows],
    )


def _together(found: Detections, near: Detections) -> Detections:
    """The people of two looks at one frame, the surest first, nobody twice."""
    assert found.keypoints is not None
    assert near.keypoints is not None
    overlap = boxes.iou(near.boxes_xyxy, found.boxes_xyxy)
    near = _select(near, np.flatnonzero(~(overlap > 0.5).any(axis=1)))
    assert near.keypoints is not None
    both = Detections(
        boxes_xyxy=np.concatenate([found.boxes_xyxy, near.boxes_xyxy]),
        scores=np.concatenate([found.scores, near.scores]),
        keypoints=np.concatenate([found.keypoints, near.keypoints]),
    )
    return _select(both, np.argsort(-both.scores, kind="stable"))


def _same_place(
    box_xyxy: Float[np.ndarray, "4"], found: Detections, min_iou: float = 0.2
) -> Bool[np.ndarray, " person"]:
    """Who may be the person that was in the box a moment ago: boxes that overlap after growing."""
    overlap = boxes.iou(boxes.pad(box_xyxy, 0.3)[None], boxes.pad(found.boxes_xyxy, 0.3))[0]
    return np.asarray(overlap > min_iou)
