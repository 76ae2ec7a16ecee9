"""A webcam that is not there, and one that we play."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_videos import picture, times

from dtsvibe_cli.errors import ConfigError, VideoError
from dtsvibe_cli.run_folder import free_paths
from dtsvibe_cli.video import read_frames, record_webcam


class FakeCamera:
    """Stands in for ``cv2.VideoCapture``: some BGR pictures, then Ctrl-C or the plug pulled."""

    def __init__(self, num_frames: int, *, ends_with_ctrl_c: bool = False) -> None:
        self.num_frames, self.ends_with_ctrl_c = num_frames, ends_with_ctrl_c
        self.is_released = False

    def __call__(self, index: int) -> "FakeCamera":
        return self

    def isOpened(self) -> bool:
        return True

    def get(self, prop: int) -> float:
        return 0.0

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.num_frames -= 1
        if self.num_frames >= 0:
            return True, np.ascontiguousarray(picture(0)[..., ::-1])
        if self.ends_with_ctrl_c:
            raise KeyboardInterrupt
        return False, None

    def release(self) -> None:
        self.is_released = True


def test_webcam_is_recorded_until_ctrl_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    camera = FakeCamera(5, ends_with_ctrl_c=True)
    monkeypatch.setattr(cv2, "VideoCapture", camera)
    path = record_webcam(0, tmp_path / "cam.mp4")
    frames = list(read_frames(path))
    assert len(frames) == 5
    assert np.abs(frames[0].rgb.astype(int) - picture(0)).mean() < 4
    assert camera.is_released


def test_webcam_stops_when_the_time_is_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera(1000))
    clock = iter(np.arange(1000) * 0.04)
    monkeypatch.setattr("dtsvibe_cli.video.webcam.time.monotonic", lambda: float(next(clock)))
    path = record_webcam(0, tmp_path / "cam.mp4", seconds=0.2)
    assert times(path) == [Fraction(i, 25) for i in range(5)]


def test_webcam_without_pictures_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera(0))
    with pytest.raises(VideoError, match="gives no pictures"):
        record_webcam(0, tmp_path / "cam.mp4")
    assert list(tmp_path.iterdir()) == []


def test_a_recording_is_replaced_only_when_told(tmp_path: Path) -> None:
    earlier = tmp_path / "webcam_63.mp4"
    earlier.write_text("a minute that will not come back")
    with pytest.raises(ConfigError, match="--overwrite"):
        free_paths(tmp_path, "webcam:63", overwrite=False)
    free_paths(tmp_path, "webcam:63", overwrite=True)
    with pytest.raises(ConfigError, match="names no camera"):
        free_paths(tmp_path, "webcam:front", overwrite=False)


def test_missing_webcam_is_one_sentence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(VideoError, match="no camera 63"):
        record_webcam(63, tmp_path / "cam.mp4")
    assert capfd.readouterr() == ("", "")
