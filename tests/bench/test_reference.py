from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from dtsvibe_cli.bench import reference
from dtsvibe_cli.bench.clip import ClipSpec, make_bench_clip
from dtsvibe_cli.bench.reference import measure_reference
from dtsvibe_cli.bench.reference_files import FrameFiles
from dtsvibe_cli.bench.reference_networks import NanoDetector
from dtsvibe_cli.datatypes import Frame
from dtsvibe_cli.errors import VideoError
from dtsvibe_cli.pipeline import run
from dtsvibe_cli.video import read_frames

RATE = Fraction(30)


def frames(count: int) -> Iterator[Frame]:
    for number in range(count):
        rgb = np.full((48, 64, 3), (200, 20 * number, 30), np.uint8)
        yield Frame(index=number, rgb=rgb, pts=number, time_base=1 / RATE)


def test_frames_lie_in_files_while_they_are_worked_on(tmp_path: Path) -> None:
    with FrameFiles(tmp_path) as files:
        files.extract(frames(3))
        names = sorted(path.name for path in tmp_path.rglob("*.png"))
        assert names == ["000001.png", "000002.png", "000003.png"]
        for number, frame in enumerate(frames(3)):
            np.testing.assert_array_equal(files.read_rgb(number), frame.rgb)
            files.write_bgr(number, files.read_bgr(number))
        assert len(list(tmp_path.rglob("*.png"))) == 6
        files.to_video(tmp_path / "out.mp4", frame_rate=RATE)
    assert list(tmp_path.iterdir()) == [tmp_path / "out.mp4"]
    for shown, frame in zip(read_frames(tmp_path / "out.mp4"), frames(3), strict=True):
        assert np.abs(shown.rgb.astype(int) - frame.rgb).max() < 6  # red is red


def test_nothing_is_left_after_an_error(tmp_path: Path) -> None:
    def work() -> None:
        with FrameFiles(tmp_path) as files:
            files.extract(frames(1))
            files.read_rgb(0)
            files.read_rgb(1)

    with pytest.raises(VideoError, match=r"000002\.png cannot be read"):
        work()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = ClipSpec(width_px=320, height_px=240, seconds=0.4)
    return make_bench_clip(spec, tmp_path_factory.mktemp("clip") / "walk.mp4")


@pytest.fixture(scope="module")
def overlay(clip: Path) -> Path:
    """dtsvibe's, beside its other results."""
    return run(clip, clip.parent / "found", renderer="numpy", device="cpu").written[0]


def test_the_reference_shows_what_dtsvibe_shows(clip: Path, overlay: Path, tmp_path: Path) -> None:
    motion_file = overlay.with_name("walk_smpl.npz")
    measured = measure_reference(
        "nano", clip, motion_file, tmp_path, num_frames=3, device="cpu", threads=1
    )
    assert measured.num_frames == 3
    assert list(tmp_path.iterdir()) == [tmp_path / "nano.mp4"]
    theirs, ours = list(read_frames(tmp_path / "nano.mp4")), list(read_frames(overlay))
    assert len(theirs) == 3
    assert theirs[0].rgb.shape == ours[0].rgb.shape
    given, half = list(read_frames(clip)), theirs[0].rgb.shape[1] // 2
    starts = [
        start
        for start in range(len(given) - 2)
        if all(_difference(theirs[k].rgb[:, :half], given[start + k].rgb) < 4 for k in range(3))
    ]
    assert starts  # three frames in a row, on the left as they are
    drawn = [np.abs(each.rgb[:, half:].astype(int) - each.rgb[:, :half]).max(2) for each in theirs]
    assert all(0.01 < (change > 40).mean() < 0.5 for change in drawn)  # and bodies on the right


def test_a_reference_that_fails_leaves_nothing(
    clip: Path, overlay: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def find(self: NanoDetector, frames: Sequence[np.ndarray]) -> int:
        seen.append(len(list(tmp_path.rglob("*.png"))))
        if seen[-1]:
            raise RuntimeError("out of memory")
        return 0

    monkeypatch.setattr(NanoDetector, "find", find)
    motion_file = overlay.with_name("walk_smpl.npz")
    with pytest.raises(RuntimeError, match="out of memory"):
        measure_reference(
            "nano", clip, motion_file, tmp_path, num_frames=2, device="cpu", threads=1
        )
    assert seen == [0, 2]  # to warm up, and then with the files on the disk
    assert list(tmp_path.iterdir()) == []
    reference._loaded.cache_clear()


def _difference(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first.astype(int) - second).mean())
