from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from drawn_people import as_frame, draw_person, draw_scene

from dtsvibe_cli.datatypes import Detections
from dtsvibe_cli.errors import WeightsError
from dtsvibe_cli.geometry.boxes import iou
from dtsvibe_cli.geometry.joints import COCO17
from dtsvibe_cli.stages import detection
from dtsvibe_cli.stages.detection import MoveNetDetector, UltralyticsDetector, make_detector
from dtsvibe_cli.stages.ultralytics_offline import import_ultralytics, ultralytics_folder


def test_movenet_finds_drawn_people_with_their_keypoints() -> None:
    rgb = draw_scene(640, 480)
    expected = np.stack([draw_person(rgb, 200, 440, 330), draw_person(rgb, 460, 430, 250)])
    found = make_detector("movenet")(as_frame(rgb))
    assert found.boxes_xyxy.shape == (2, 4)
    overlap = iou(expected, found.boxes_xyxy)
    assert (overlap.max(axis=1) > 0.8).all(), overlap
    assert found.keypoints is not None
    left, right = (COCO17.index(f"{side}_shoulder") for side in ("left", "right"))
    ankle = COCO17.index("left_ankle")
    for keypoints, box in zip(found.keypoints, found.boxes_xyxy, strict=True):
        assert keypoints[left, 0] > keypoints[right, 0], "they face the camera"
        assert keypoints[left, 1] < keypoints[ankle, 1]
        assert (box[:2] <= keypoints[keypoints[:, 2] >= 0.2, :2]).all()
        assert (keypoints[keypoints[:, 2] >= 0.2, :2] <= box[2:]).all()


def test_movenet_finds_nobody_on_an_empty_lawn() -> None:
    found = make_detector("movenet")(as_frame(draw_scene(320, 240)))
    assert found.boxes_xyxy.shape == (0, 4)
    assert found.scores.shape == (0,)
    assert found.keypoints is not None
    assert found.keypoints.shape == (0, 17, 3)


class FakeMoveNet:
    """Sees white rectangles always and grey ones only when they are 100 pixels tall."""

    def __init__(self) -> None:
        self.sides: list[int] = []

    def __call__(self, image: torch.Tensor, *, min_score: float) -> SimpleNamespace:
        grey = image[0, 0].numpy()
        self.sides.append(max(grey.shape))
        people = []
        for level, min_height, score in ((250, 0, 0.9), (120, 100, 0.4)):
            mask = (np.abs(grey - level) < 6).astype(np.uint8)
            _, _, stats, _ = cv2.connectedComponentsWithStats(mask)
            for x, y, width, height, area in stats[1:]:
                if height >= max(min_height, 8) and area > 0.9 * width * height:
                    people.append([x, y, x + width, y + height, score])
        rows = torch.tensor(people, dtype=torch.float32).reshape(-1, 5)
        return SimpleNamespace(
            boxes_xyxy=rows[:, :4], scores=rows[:, 4], keypoints=torch.zeros(len(rows), 17, 3)
        )


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeMoveNet:
    network = FakeMoveNet()
    monkeypatch.setattr(detection, "load_movenet", lambda device: network)
    return network


def _rectangle(level: int, box: tuple[int, int, int, int]) -> np.ndarray:
    rgb = np.zeros((512, 1024, 3), dtype=np.uint8)
    rgb[box[1] : box[3], box[0] : box[2]] = level
    return rgb


def _run(rgbs: list[np.ndarray]) -> list[Detections]:
    detector = MoveNetDetector()
    return [detector(as_frame(rgb, index)) for index, rgb in enumerate(rgbs)]


def test_large_people_are_looked_for_at_256_but_for_every_eighth_frame(fake: FakeMoveNet) -> None:
    _run([_rectangle(250, (300, 20, 500, 500))] * 10)
    assert fake.sides == [512] + [256] * 7 + [512, 256]


def test_small_people_are_looked_for_at_512(fake: FakeMoveNet) -> None:
    two = _rectangle(250, (300, 20, 340, 120))
    two[200:300, 700:740] = 250
    found = _run([two] * 3)
    assert fake.sides == [512] * 3
    boxes = found[2].boxes_xyxy[found[2].boxes_xyxy[:, 0].argsort()]
    np.testing.assert_allclose(boxes, [[300, 20, 340, 120], [700, 200, 740, 300]], atol=2)


def test_a_small_person_alone_is_looked_at_from_near_between_whole_frames(
    fake: FakeMoveNet,
) -> None:
    walk = [(300 + 6 * k, 20, 340 + 6 * k, 120) for k in range(8)]
    found = _run([_rectangle(250, box) for box in walk])
    assert fake.sides == [512, 256] * 4
    for detections, box in zip(found, walk, strict=True):
        np.testing.assert_allclose(detections.boxes_xyxy, [box], atol=2)


def test_who_comes_beside_a_small_person_is_found_in_the_next_whole_frame(
    fake: FakeMoveNet,
) -> None:
    alone = _rectangle(250, (300, 20, 340, 120))
    two = alone.copy()
    two[200:300, 700:740] = 250
    found = _run([alone, two, two, two, two])
    assert [len(detections.scores) for detections in found] == [1, 1, 2, 2, 2]
    assert fake.sides == [512, 256, 512, 512, 512]


def test_a_frame_with_somebody_small_is_seen_again_at_512(fake: FakeMoveNet) -> None:
    large, small = _rectangle(250, (300, 20, 500, 500)), _rectangle(250, (320, 100, 480, 450))
    _run([large, large, small, small])
    assert fake.sides == [512, 256, 256, 512, 256]


def test_small_pictures_are_never_enlarged_to_512(fake: FakeMoveNet) -> None:
    _run([_rectangle(250, (30, 20, 40, 50))[:128, :200]] * 3)
    assert set(fake.sides) == {256}


def test_somebody_lost_is_looked_for_nearby(fake: FakeMoveNet) -> None:
    easy, hard = _rectangle(250, (300, 150, 380, 310)), _rectangle(120, (320, 170, 400, 330))
    found = _run([easy, hard, hard])
    assert fake.sides == [512, 256, 512, 256]
    for detections in found[1:]:
        np.testing.assert_allclose(detections.boxes_xyxy, [[320, 170, 400, 330]], atol=2)
    alone = _run([hard])[0]
    assert len(alone.scores) == 0, "the closer look is what finds them"


def test_the_search_for_somebody_gone_ends(fake: FakeMoveNet) -> None:
    _run([_rectangle(250, (300, 150, 380, 310))] + [_rectangle(0, (0, 0, 1, 1))] * 6)
    assert fake.sides == [512] + [256, 512] + [512, 256] * 3 + [512] * 2


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Ultralytics models with random weights."""

    def save(architecture: str, first_class: str) -> Path:
        path = tmp_path_factory.mktemp("weights") / "model.pt"
        model = import_ultralytics().YOLO(f"{architecture}.yaml")
        model.model.names = {i: str(i) for i in range(80)} | {0: first_class}
        model.save(path)
        return path

    return save


def test_an_ultralytics_pose_model_gives_boxes_and_keypoints(
    saved_model: Callable[[str, str], Path],
) -> None:
    detector = UltralyticsDetector(saved_model("yolo11n-pose", "person"), min_score=1e-6)
    noise = np.random.default_rng(0).integers(0, 255, (96, 160, 3), dtype=np.uint8)
    found = detector(as_frame(noise))
    assert len(found.scores) > 0
    assert found.boxes_xyxy.shape == (len(found.scores), 4)
    assert found.keypoints is not None
    assert found.keypoints.shape == (len(found.scores), 17, 3)


def test_an_ultralytics_model_without_people_is_refused(
    saved_model: Callable[[str, str], Path],
) -> None:
    with pytest.raises(WeightsError, match="has no class 'person'"):
        UltralyticsDetector(saved_model("yolo11n", "dog"))


def test_wrong_detectors_are_refused_with_a_way_out(tmp_path: Path) -> None:
    text = tmp_path / "notes.pt"
    text.write_text("hello")
    with pytest.raises(WeightsError, match="no weights file that ultralytics can read"):
        make_detector(str(text))
    with pytest.raises(WeightsError, match=r"no weights file .*absent\.pt"):
        make_detector(str(tmp_path / "absent.pt"))
    with pytest.raises(WeightsError, match="no detector yolo_of_nobody: give --detector movenet"):
        make_detector("yolo_of_nobody")


def test_weights_in_the_cache_folder_are_known_by_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(detection, "ultralytics_folder", lambda: tmp_path)
    (tmp_path / "mine.pt").write_text("hello")
    with pytest.raises(WeightsError, match=r"mine\.pt is no weights file"):
        make_detector("mine")


class FakeReleases:
    """Stands for ultralytics' downloads: knows one model."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def attempt_download_asset(self, file: Path, *, progress: bool) -> str:
        assert not progress, "a bar would go to stdout"
        self.asked.append(file.name)
        if file.name == "broken.pt":
            raise ConnectionError("no way out")
        if file.name == "known.pt":
            file.write_text("hello")
        return str(file)


def test_weights_are_fetched_only_when_that_is_allowed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    releases, real = FakeReleases(), import_ultralytics

    def import_part(module: str = "ultralytics") -> object:
        return releases if module.endswith("downloads") else real(module)

    monkeypatch.setattr(detection, "ultralytics_folder", lambda: tmp_path)
    monkeypatch.setattr(detection, "import_ultralytics", import_part)
    with pytest.raises(WeightsError, match="downloaded with --allow-download"):
        make_detector("known")
    assert releases.asked == []
    with pytest.raises(WeightsError, match=r"broken\.pt could not be downloaded \(no way out\)"):
        make_detector("broken", allow_download=True)
    with pytest.raises(WeightsError, match=r"Ultralytics has no weights named unknown\.pt"):
        make_detector("unknown", allow_download=True)
    for _ in range(2):
        with pytest.raises(WeightsError, match=r"known\.pt is no weights file"):
            make_detector("known", allow_download=True)
    assert releases.asked == ["broken.pt", "unknown.pt", "known.pt"], "fetched once, then kept"


def test_an_unwritable_cache_is_no_obstacle(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / "file" / name))
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    assert ultralytics_folder().is_dir()
