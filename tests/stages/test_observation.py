import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from synthetic import textured_picture

from dtsvibe_cli.datatypes import Frame, Observations, Track
from dtsvibe_cli.geometry.joints import (
    BLAZEPOSE33,
    BLAZEPOSE33_MIRROR,
    COCO17_MIRROR,
    COCO17_TO_BLAZEPOSE33,
)
from dtsvibe_cli.models.blazepose import BlazePoseLandmarks, BlazePoseOutput, load_blazepose
from dtsvibe_cli.stages.crops import DeviceFrame, cut, from_crop
from dtsvibe_cli.stages.flow import DisFlow
from dtsvibe_cli.stages.following import FollowedFrame, FollowedPerson
from dtsvibe_cli.stages.observation import KEPT_FLOW_SIDE, Observer
from dtsvibe_cli.stages.track_rows import join
from dtsvibe_cli.synthetic.truth import load_truth
from dtsvibe_cli.video import read_frames

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@pytest.fixture(scope="module")
def pose_network() -> BlazePoseLandmarks:
    return load_blazepose()


@pytest.fixture
def observer(pose_network: BlazePoseLandmarks) -> Observer:
    return Observer(pose_network, DisFlow())


def followed(
    index: int,
    rgb: np.ndarray,
    crops_cxcys: dict[int, Sequence[float]],
    keypoints: np.ndarray | None = None,
    lean_rad: float | None = None,
) -> FollowedFrame:
    people = tuple(
        FollowedPerson(
            track_id=track_id,
            box_xyxy=np.array([0.0, 0.0, 10.0, 10.0]),
            score=0.9,
            keypoints=np.zeros((17, 3)) if keypoints is None else keypoints,
            crop_cxcys=np.array(crop, dtype=float),
            colours=np.full(56, float(index)) if index % 2 == 0 else None,
            lean_rad=lean_rad,
        )
        for track_id, crop in crops_cxcys.items()
    )
    frame = Frame(index=index, rgb=rgb, pts=index, time_base=Fraction(1, 30))
    return FollowedFrame(frame=frame, people=people)


def moved(dx: int, dy: int) -> np.ndarray:
    """The same large texture, its content shifted by so many pixels."""
    large = textured_picture(300, 340)
    return large[40 - dy : 240 - dy, 40 - dx : 280 - dx]


def walker() -> tuple[np.ndarray, tuple[float, float, float]]:
    """A frame of the synthetic clip, and the square around the person in it."""
    frame = next(read_frames(EXAMPLES / "synthetic_walk.mp4"))
    joints_px = load_truth(EXAMPLES / "synthetic_walk_truth.npz").joints_px[frame.index]
    x, y = (joints_px.min(0) + joints_px.max(0)) / 2
    return frame.rgb, (float(x), float(y), 1.4 * float(np.ptp(joints_px, axis=0).max()))


def brightest(picture: np.ndarray) -> np.ndarray:
    """Centre of the light in a dark picture, pixels from its corner."""
    weight = picture[..., 0].astype(float)
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]] + 0.5
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


@pytest.mark.parametrize("turn", [0.0, 0.7, -1.2, np.pi / 2, np.pi, -2.5])
@pytest.mark.parametrize("side_px", [60.0, 128.0, 190.5])
def test_points_of_a_crop_go_back_to_where_they_were_cut(turn: float, side_px: float) -> None:
    place = np.array([164.2, 113.4])
    y, x = np.mgrid[:240, :320] + 0.5
    spot = 255 * np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / (2 * 4**2))
    rgb = np.repeat(spot.round().astype(np.uint8)[..., None], 3, axis=-1)
    crop = np.array([150.3, 120.7, side_px, turn])
    seen = brightest(cut(rgb, crop, 96))
    np.testing.assert_allclose(from_crop(seen[None], crop, 96)[0], place, atol=0.05)


def test_an_unscaled_crop_is_the_picture_itself() -> None:
    rgb = textured_picture(80, 100)
    crop = np.array([50.0, 40.0, 32.0, 0.0])
    np.testing.assert_array_equal(cut(rgb, crop, 32), rgb[24:56, 34:66])


def test_beyond_the_edge_the_last_pixels_go_on() -> None:
    rgb = textured_picture(80, 100)
    picture = cut(rgb, np.array([0.0, 40.0, 40.0, 0.0]), 40)
    np.testing.assert_array_equal(picture[:, :20], np.repeat(rgb[20:60, :1], 20, axis=1))
    np.testing.assert_array_equal(picture[:, 20:], rgb[20:60, :20])


def test_a_moving_picture_is_flow(observer: Observer) -> None:
    side_px = 160.0
    for index, shift in enumerate([(0, 0), (5, -3)]):
        observer.look(followed(index, moved(*shift), {1: (120, 100, side_px)}))
    seen = observer.tracks()[1].observations
    assert not seen.flow[0].any()
    middle = seen.flow[1][:, 8:-8, 8:-8].reshape(2, -1) * side_px
    np.testing.assert_allclose(np.median(middle, axis=1), [5, -3], atol=0.3)


def test_many_tracks_share_few_files(observer: Observer, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    kind = tempfile.SpooledTemporaryFile
    monkeypatch.setattr(
        tempfile, "SpooledTemporaryFile", lambda **options: made.append(1) or kind(**options)
    )
    for index in range(3):
        crops = dict.fromkeys((2 * index, 2 * index + 1), (120.0, 100.0, 160.0))
        observer.look(followed(index, moved(index, 0), crops))
    assert len(observer.tracks()) == 6
    assert len(made) <= 2  # numbers and flow


def test_a_moving_crop_is_no_moving_body(observer: Observer) -> None:
    still = moved(0, 0)
    for index, crop in enumerate([(110, 90, 150), (122, 101, 158)]):
        observer.look(followed(index, still, {1: crop}))
    flow = observer.tracks()[1].observations.flow[1] * 158
    assert np.abs(flow).max() < 0.2


def test_no_flow_without_the_frame_before(observer: Observer) -> None:
    crop = {1: (120.0, 100.0, 160.0)}
    observer.look(followed(0, moved(0, 0), crop))
    observer.look(followed(1, moved(3, 0), {}))
    observer.look(followed(2, moved(6, 0), crop))  # was not there a frame ago
    observer.look(followed(4, moved(9, 0), crop))  # a frame is missing
    observer.look(followed(5, moved(12, 0), crop | {2: (90.0, 100.0, 100.0)}))
    tracks = observer.tracks()
    measured = [bool(flow.any()) for flow in tracks[1].observations.flow]
    assert measured == [False, False, False, True]
    assert not tracks[2].observations.flow[:].any()
    assert tracks[1].observations.track.frame_index.tolist() == [0, 2, 4, 5]
    np.testing.assert_allclose(tracks[1].observations.time_s, np.array([0, 2, 4, 5]) / 30)


def test_no_flow_over_a_pause(observer: Observer) -> None:
    """A recording that was stopped for a while numbers its frames without a gap."""
    for index, pts in enumerate((0, 1, 61, 62)):
        frame = followed(index, moved(3 * index, 0), {1: (120, 100, 150)})
        observer.look(replace(frame, frame=replace(frame.frame, pts=pts)))
    flow = np.abs(observer.tracks()[1].observations.flow[:]).mean((1, 2, 3))
    assert (flow > 0).tolist() == [False, True, False, True]


def test_colours_are_the_mean_of_those_that_were_measured(observer: Observer) -> None:
    for index in range(5):
        observer.look(followed(index, moved(0, 0), {1: (120, 100, 160)}))
    observer.look(followed(5, moved(0, 0), {2: (120, 100, 160)}))
    tracks = observer.tracks()
    np.testing.assert_allclose(tracks[1].colours, np.full(56, 2.0))  # of frames 0, 2 and 4
    assert tracks[2].colours is None


@pytest.mark.parametrize("lean_deg", [90, -90, 180, 30, 0])
def test_crops_are_turned_so_that_people_are_upright(observer: Observer, lean_deg: float) -> None:
    centre, lean = np.array([120.0, 100.0]), np.deg2rad(lean_deg)
    to_head = np.array([np.sin(lean), -np.cos(lean)])  # clockwise from upright, as seen
    rgb = np.zeros((200, 240, 3), np.uint8)
    cv2.circle(rgb, (centre + 70 * to_head).astype(int).tolist(), 5, (255, 255, 255), -1)
    observer.look(followed(0, rgb, {1: (*centre, 180.0)}, lean_rad=lean))
    crop = observer.tracks()[1].observations.crops_cxcysa[0]
    np.testing.assert_allclose(brightest(cut(rgb, crop, 180)), [90, 20], atol=1.5)


def test_without_a_lean_the_landmarks_of_the_frame_before_tell_it(observer: Observer) -> None:
    rgb = moved(0, 0)
    for index in range(2):
        observer.look(followed(index, rgb, {1: (120, 100, 160)}))
    seen = observer.tracks()[1].observations
    torso = [
        seen.landmarks_px[0, [BLAZEPOSE33.index(f"{side}_{name}") for side in ("left", "right")]]
        for name in ("hip", "shoulder")
    ]
    up = torso[1].mean(0) - torso[0].mean(0)
    assert seen.crops_cxcysa[0, 3] == 0
    assert seen.crops_cxcysa[1, 3] == pytest.approx(np.arctan2(up[0], -up[1]), abs=1e-5)


def test_turned_and_upright_people_are_read_alike(observer: Observer) -> None:
    """Landmarks in pixels and in metres go back to the axes of the image."""
    rgb, crop = walker()
    side = max(rgb.shape)
    square = np.zeros((side, side, 3), np.uint8)
    square[: rgb.shape[0], : rgb.shape[1]] = rgb
    turned = np.ascontiguousarray(np.rot90(square, -1))  # clockwise
    turned_crop = (side - crop[1], crop[0], crop[2])
    observer.look(followed(0, square, {1: crop}, lean_rad=0.0))
    observer.look(followed(5, turned, {2: turned_crop}, lean_rad=np.pi / 2))
    tracks = observer.tracks()
    upright, lying = (tracks[k].observations for k in (1, 2))
    x, y = np.moveaxis(upright.landmarks_px, -1, 0)
    np.testing.assert_allclose(lying.landmarks_px, np.stack([side - y, x], -1), atol=1.0)
    x, y, z = np.moveaxis(upright.world_landmarks_m, -1, 0)
    np.testing.assert_allclose(lying.world_landmarks_m, np.stack([-y, x, z], -1), atol=0.02)


class ConfusedOnce(BlazePoseLandmarks):
    """The pose network, but in one of its looks the legs are exchanged and the arms are not."""

    def __init__(self, network: BlazePoseLandmarks, look: int) -> None:
        super().__init__(network.network)
        self.look, self.looks = look, 0

    def forward(self, crops: torch.Tensor, *, with_features: bool = False) -> BlazePoseOutput:
        seen = super().forward(crops, with_features=with_features)
        self.looks += 1
        if self.looks != self.look:
            return seen
        hips = BLAZEPOSE33.index("left_hip")
        mixed = seen.landmarks_px.clone()
        mixed[:, hips:] = seen.landmarks_px[:, list(BLAZEPOSE33_MIRROR)[hips:]]
        return replace(seen, landmarks_px=mixed)


def test_somebody_half_turned_round_is_looked_at_again(pose_network: BlazePoseLandmarks) -> None:
    """Then as much speaks for right sides as for wrong ones, and the next frames follow it."""
    rgb, crop = walker()
    confused = ConfusedOnce(pose_network, look=2)
    observer = Observer(confused, DisFlow())
    for index in range(3):
        observer.look(followed(index, rgb, {1: crop}, lean_rad=0.0))
    seen = observer.tracks()[1].observations
    np.testing.assert_allclose(seen.landmarks_px[1], seen.landmarks_px[0], atol=1e-3)
    assert confused.looks == 5  # two more in the middle frame, none in the others


def test_a_second_look_does_not_exchange_sides_itself(observer: Observer) -> None:
    """A detector that has left and right wrong makes the network look at the mirror image too."""
    rgb, crop = walker()
    observer.look(followed(0, rgb, {1: crop}, lean_rad=0.0))
    first = observer.tracks()[1].observations
    wrong = np.full((17, 3), 0.9)
    wrong[:, :2] = first.landmarks_px[0][list(COCO17_TO_BLAZEPOSE33)][list(COCO17_MIRROR)]
    observer.look(followed(5, rgb, {2: crop}, wrong, lean_rad=0.0))
    again = observer.tracks()[2].observations
    apart = np.linalg.norm(again.landmarks_px - first.landmarks_px, axis=-1)
    exchanged = np.linalg.norm(
        again.landmarks_px[:, list(BLAZEPOSE33_MIRROR)] - first.landmarks_px, axis=-1
    )
    assert apart.mean() < 0.5 * exchanged.mean()
    apart_m = np.linalg.norm(again.world_landmarks_m - first.world_landmarks_m, axis=-1)
    assert apart_m.mean() < 0.1


class Remembering:
    """A backbone that keeps what it is given; its feature is the mean of each channel."""

    def __init__(self, side: int, num_features: int) -> None:
        self.side, self.num_features = side, num_features
        self.given: list[torch.Tensor] = []

    def extract(self, frames: torch.Tensor) -> torch.Tensor:
        self.given.append(frames)
        return frames.mean((2, 3))

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        raise AssertionError("windows are not the observer's business")


def test_a_network_that_looks_at_pictures_sees_each_once(
    pose_network: BlazePoseLandmarks,
) -> None:
    v_cnn, o_cnn = Remembering(64, 3), Remembering(224, 2)
    observer = Observer(pose_network, DisFlow(), picture_cnn=v_cnn, flow_cnn=o_cnn)
    crops = {1: (120.0, 100.0, 64.0), 2: (90.0, 100.0, 160.0)}
    for index in range(3):
        observer.look(followed(index, moved(5 * index, 0), crops, lean_rad=0.5))
    assert [tuple(given.shape) for given in v_cnn.given] == [(2, 3, 64, 64)] * 3
    assert [tuple(given.shape) for given in o_cnn.given] == [(2, 2, 224, 224)] * 3
    upright = moved(10, 0)[68:132, 88:152].transpose(2, 0, 1) / 255  # however much the person leans
    np.testing.assert_allclose(v_cnn.given[2][0], upright, atol=1e-6)
    assert not o_cnn.given[0].any()
    assert float(o_cnn.given[2][1, 0].median()) == pytest.approx(5 / 160, abs=2e-3)

    seen = observer.tracks()[2].observations
    assert seen.appearance is not None
    assert seen.flow_features is not None
    assert seen.appearance.dtype == seen.flow_features.dtype == np.float16
    np.testing.assert_allclose(seen.appearance[1], v_cnn.given[1][1].mean((1, 2)), atol=1e-3)
    np.testing.assert_allclose(seen.flow_features[1], o_cnn.given[1][1].mean((1, 2)), atol=1e-4)
    assert seen.flow.shape == (3, 2, KEPT_FLOW_SIDE, KEPT_FLOW_SIDE)
    cells = o_cnn.given[1][1].reshape(2, KEPT_FLOW_SIDE, 7, KEPT_FLOW_SIDE, 7).mean((2, 4))
    np.testing.assert_allclose(seen.flow[1], cells, atol=1e-4)


def test_coarse_flow_is_kept_as_the_network_takes_it(pose_network: BlazePoseLandmarks) -> None:
    o_cnn = Remembering(16, 2)
    observer = Observer(pose_network, DisFlow(), flow_cnn=o_cnn)
    observer.look(followed(0, moved(0, 0), {1: (120, 100, 160)}))
    seen = observer.tracks()[1].observations
    assert seen.flow.shape == (1, 2, 16, 16)
    assert seen.appearance is None
    assert seen.flow_features is None
    assert o_cnn.given == []


def watched(pose_network: BlazePoseLandmarks, **how: Any) -> dict[int, Observations]:
    """What an observer makes of two people, one of whom shows no lean and is looked at twice."""
    truth = load_truth(EXAMPLES / "synthetic_walk_truth.npz")
    observer = Observer(pose_network, DisFlow(), **how)
    for frame in islice(read_frames(EXAMPLES / "synthetic_walk.mp4"), 7):
        joints_px = truth.joints_px[frame.index]
        x, y = (joints_px.min(0) + joints_px.max(0)) / 2
        side = 1.4 * np.ptp(joints_px, axis=0).max()
        wrong = np.full((17, 3), 0.9)
        wrong[:, :2] = [x, y]
        wrong[list(COCO17_MIRROR), 0] += np.linspace(-20, 20, 17)
        one = followed(frame.index, frame.rgb, {1: (x, y, side)}, lean_rad=0.1)
        two = followed(frame.index, frame.rgb, {2: (x + 4, y, 0.9 * side)}, wrong)
        people = () if frame.index == 3 else one.people + two.people
        observer.look(replace(one, people=people))
    return {track_id: seen.observations for track_id, seen in observer.tracks().items()}


@pytest.mark.parametrize(
    ("how", "tolerance_px"),
    [
        ({"batch_frames": 3}, 0.05),
        ({"open_frame": lambda rgb: DeviceFrame(rgb, "cpu")}, 0.5),
        ({"open_frame": lambda rgb: DeviceFrame(rgb, "cpu"), "batch_frames": 8}, 0.5),
    ],
    ids=["batch", "device", "both"],
)
def test_a_gpus_way_sees_the_same(
    pose_network: BlazePoseLandmarks, how: dict[str, Any], tolerance_px: float
) -> None:
    """Run on the CPU; crops that are cut another way differ by rounding."""
    plain, other = watched(pose_network), watched(pose_network, **how)
    assert list(plain) == list(other) == [1, 2]
    for track_id, seen in plain.items():
        same = other[track_id]
        np.testing.assert_array_equal(same.track.frame_index, [0, 1, 2, 4, 5, 6])
        apart = np.linalg.norm(same.landmarks_px - seen.landmarks_px, axis=-1)
        assert np.median(apart) < tolerance_px
        assert apart.max() < 20 * tolerance_px
        np.testing.assert_allclose(same.crops_cxcysa, seen.crops_cxcysa, atol=0.05)
        flow = seen.flow[:]
        assert flow.any(axis=(1, 2, 3)).tolist() == [False, True, True, False, True, True]
        assert np.median(np.abs(same.flow[:] - flow)) < 1e-3


@pytest.mark.gpu
def test_cuda_sees_the_same(pose_network: BlazePoseLandmarks) -> None:
    """All of the GPU's ways at once: its crops, batches, half precision and CUDA graphs."""
    plain = watched(pose_network)
    other = watched(load_blazepose("cuda"), device="cuda", batch_frames=2)
    for track_id, seen in plain.items():
        apart = np.linalg.norm(other[track_id].landmarks_px - seen.landmarks_px, axis=-1)
        assert np.median(apart) < 1


def test_pictures_are_forgotten(observer: Observer) -> None:
    """Memory must not grow with the length of a video but for some numbers a frame."""
    alive: list[weakref.ref[Frame]] = []
    rgb = moved(0, 0)
    for index in range(6):
        frame = followed(index, rgb.copy(), {1: (120, 100, 160)} if index % 3 else {})
        alive.append(weakref.ref(frame.frame))
        observer.look(frame)
        del frame
        assert sum(ref() is not None for ref in alive) == 1


def _part(frames: Sequence[int], scores: Sequence[float], mark: float) -> Observations:
    n = len(frames)
    return Observations(
        track=Track(
            track_id=int(mark),
            frame_index=np.array(frames),
            boxes_xyxy=np.full((n, 4), mark),
            scores=np.array(scores),
        ),
        crops_cxcysa=np.full((n, 4), mark),
        landmarks_px=np.full((n, 33, 2), mark),
        visibility=np.full((n, 33), mark),
        world_landmarks_m=np.full((n, 33, 3), mark),
        keypoints=np.full((n, 17, 3), mark),
        flow=np.full((n, 2, 4, 4), mark),
        time_s=np.array(frames) / 30,
    )


def test_joined_tracks_keep_the_surer_row_of_each_frame() -> None:
    late = _part([3, 4, 5], [0.9, 0.3, 0.9], 7.0)
    early = _part([1, 3, 4], [0.5, 0.6, 0.6], 8.0)
    person = join([late, early], 2)
    assert person.track.track_id == 2
    assert person.track.frame_index.tolist() == [1, 3, 4, 5]
    for values in (person.track.boxes_xyxy, person.landmarks_px, person.flow, person.keypoints):
        assert [row.flat[0] for row in values] == [8.0, 7.0, 8.0, 7.0]
    np.testing.assert_allclose(person.time_s, np.array([1, 3, 4, 5]) / 30)
    assert person.appearance is None
    with_features = [replace(part, appearance=part.flow[:, 0, 0]) for part in (late, early)]
    appearance = join(with_features, 2).appearance
    assert appearance is not None
    assert appearance[:][:, 0].tolist() == [8.0, 7.0, 8.0, 7.0]
