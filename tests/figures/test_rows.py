import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_results import CLIP, SIZE, made_motion, save, true_person
from PIL import Image

from dtsvibe_cli.datatypes import PinholeCamera
from dtsvibe_cli.errors import BodyModelError, ConfigError, DataError
from dtsvibe_cli.figures import rows as rows_module
from dtsvibe_cli.figures.rows import draw_rows

EVERY = np.arange(150)


@pytest.fixture(autouse=True)
def _small_panels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "_PANEL_HEIGHT_PX", 240)


@pytest.fixture
def result(tmp_path: Path) -> Path:
    return save(made_motion(true_person(EVERY)), tmp_path / "run")


def changed(panel: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    return np.abs(panel.astype(int) - drawn).max(-1) > 12


def test_the_body_is_drawn_on_the_person(result: Path, tmp_path: Path) -> None:
    (row,) = draw_rows([result], tmp_path / "f.png", frames=[70], crop=False, renderer="numpy")
    given, drawn, other = row.panels
    assert {panel.shape for panel in row.panels} == {(240, 320, 3)}
    mask = changed(given, drawn)
    joints = true_person(EVERY).joints_px[70] * 240 / SIZE[1]
    assert mask[joints[:, 1].astype(int), joints[:, 0].astype(int)].mean() > 0.9
    outside = mask.copy()
    low, high = joints.min(0).astype(int) - 16, joints.max(0).astype(int) + 16
    outside[low[1] : high[1], low[0] : high[0]] = False
    assert not outside.any()
    assert np.ptp(other.astype(int), axis=-1).max() > 30  # a coloured body before a grey wall


def test_cropping_shows_the_people_larger(result: Path, tmp_path: Path) -> None:
    whole, close = (
        draw_rows([result], tmp_path / f"{crop}.png", frames=[20], crop=crop, renderer="numpy")[
            0
        ].panels
        for crop in (False, True)
    )
    shares = [changed(panels[0], panels[1]).any(1).mean() for panels in (whole, close)]
    assert shares[1] > 0.75
    assert shares[1] > 1.3 * shares[0]


@pytest.mark.parametrize(
    "box",
    [(100, 50, 200, 250), (-40, -20, 80, 200), (500, 300, 660, 500), (-100, 0, 740, 200)],
)
def test_the_cut_camera_sees_points_where_the_cut_picture_has_them(
    box: tuple[float, ...],
) -> None:
    camera = PinholeCamera(focal_length_px=500.0, center_px=(310.0, 250.0), source="option")
    point_px = np.array([min(max(np.mean(box[0::2]), 20), 620), min(np.mean(box[1::2]), 460)])
    picture = np.zeros((480, 640, 3), np.uint8)
    x, y = point_px.astype(int)
    picture[y - 3 : y + 3, x - 3 : x + 3] = 255
    panel, cut = rows_module._cut(picture, camera, np.array(box, float), (200, 240))
    assert panel.shape == (240, 200, 3)
    inside = panel[..., 0].astype(float)
    inside[(panel == 255).all(-1) & (inside.mean() > 100)] = 0
    ray = (np.array([x, y]) - camera.center_px) / camera.focal_length_px
    expected = ray * cut.focal_length_px + cut.center_px
    rows, columns = np.mgrid[:240, :200] + 0.5
    near = np.hypot(columns - expected[0], rows - expected[1]) < 12
    weight = inside * near
    found = np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()
    np.testing.assert_allclose(found, expected, atol=0.3)


def test_results_of_one_video_share_the_rows(result: Path, tmp_path: Path) -> None:
    other = save(made_motion(true_person(np.arange(60)), last=59), tmp_path / "other")
    out = tmp_path / "rows.pdf"
    rows = draw_rows([result, other], out, frames=[10, 50], labels=["one", "two"], renderer="numpy")
    assert [row.label for row in rows] == ["frame 10", "frame 50"]
    assert all(len(row.panels) == 5 for row in rows)
    np.testing.assert_array_equal(rows[0].panels[1], rows[0].panels[3])
    assert out.read_bytes().startswith(b"%PDF")
    with pytest.raises(ConfigError, match="no frame 70: give frames from 0 to 59"):
        draw_rows([result, other], tmp_path / "no.png", frames=[70])


def test_bodies_of_another_model_are_not_drawn(tmp_path: Path) -> None:
    motion = made_motion(true_person(EVERY))
    meta = {"body_model": {"name": "theirs", "sha256": "abc"}}
    theirs = save(replace(motion, meta=meta), tmp_path / "theirs")
    with pytest.raises(BodyModelError, match="theirs was made with the body model 'theirs'"):
        draw_rows([theirs], tmp_path / "no.png", renderer="numpy")


def test_another_video_gets_rows_of_its_own(result: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.mp4"
    shutil.copy(CLIP, copy)
    motion = made_motion(true_person(EVERY))
    moved = replace(motion, video=replace(motion.video, path=copy))
    second = save(moved, tmp_path / "second")
    out = tmp_path / "rows.png"
    rows = draw_rows([result, second], out, frames=[10], view="top", renderer="numpy")
    assert [len(row.panels) for row in rows] == [3, 3]
    with Image.open(out) as picture:
        assert picture.width <= 2100
    with pytest.raises(ConfigError, match=r"as many results .* 2 of synthetic_walk.mp4, 1 of copy"):
        draw_rows([result, result, second], tmp_path / "no.png")


def test_frames_without_people_are_shown_whole(result: Path, tmp_path: Path) -> None:
    nobody = save(made_motion(last=20), tmp_path / "nobody")
    rows = draw_rows([nobody], tmp_path / "rows.png", renderer="numpy")
    assert len(rows) == rows_module.NUM_FRAMES
    given, drawn, _ = rows[0].panels
    assert given.shape == (240, 320, 3)
    np.testing.assert_array_equal(given, drawn)


def test_results_must_overlap_and_the_view_must_exist(result: Path, tmp_path: Path) -> None:
    early = save(made_motion(last=10), tmp_path / "early")
    late = save(made_motion(first=20, last=30), tmp_path / "late")
    with pytest.raises(DataError, match="have no frame in common"):
        draw_rows([early, late], tmp_path / "no.png")
    with pytest.raises(ConfigError, match="choose side, top or around"):
        draw_rows([result], tmp_path / "no.png", view="behind")
