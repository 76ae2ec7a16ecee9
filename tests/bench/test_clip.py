from pathlib import Path

import numpy as np
import pytest

from dtsvibe_cli.bench.clip import ClipSpec, make_bench_clip
from dtsvibe_cli.errors import ConfigError, VideoError
from dtsvibe_cli.stages.detection import MoveNetDetector
from dtsvibe_cli.synthetic.clip import FRAME_RATE
from dtsvibe_cli.video import VideoWriter, probe, read_frames
from dtsvibe_cli.video.repeat import repeat_video


def test_so_many_people_are_seen_side_by_side(tmp_path: Path) -> None:
    spec = ClipSpec(people=3, width_px=640, height_px=360, seconds=0.1)
    frames = list(read_frames(make_bench_clip(spec, tmp_path / "clip.mp4")))
    assert [frame.rgb.shape for frame in frames] == [(360, 640, 3)] * 3
    found = MoveNetDetector()(frames[0])
    sure = found.boxes_xyxy[found.scores > 0.25]
    centres = np.sort(sure[:, [0, 2]].mean(1))
    assert np.allclose(centres, [107, 320, 533], atol=60)


@pytest.mark.parametrize(("people", "size"), [(1, (640, 128)), (1, (128, 640)), (5, (321, 123))])
def test_any_size_is_filled(tmp_path: Path, people: int, size: tuple[int, int]) -> None:
    spec = ClipSpec(people=people, width_px=size[0], height_px=size[1], seconds=0.04)
    info = probe(make_bench_clip(spec, tmp_path / "clip.mp4"))
    assert (info.width_px, info.height_px) == (size[0] + size[0] % 2, size[1] + size[1] % 2)


def test_a_long_clip_repeats_a_round_that_does_not_jump(tmp_path: Path) -> None:
    walker = tmp_path / "walker.mp4"
    with VideoWriter(walker, frame_rate=FRAME_RATE) as writer:
        for index in range(4):  # grey levels instead of a person
            picture = np.full((48, 64, 3), 60 * index, np.uint8)
            writer.write(picture, pts=index, time_base=1 / FRAME_RATE)
    spec = ClipSpec(width_px=64, height_px=48, seconds=0.5)
    clip = make_bench_clip(spec, tmp_path / "clip.mp4", walker=walker)
    levels = [round(frame.rgb.mean() / 60) for frame in read_frames(clip)]
    assert levels == [0, 1, 2, 3, 2, 1] * 2  # the closest whole number of rounds to 15 frames
    assert sorted(tmp_path.iterdir()) == [clip, walker]


def test_repeating_keeps_every_picture_and_the_clock(tmp_path: Path) -> None:
    spec = ClipSpec(width_px=96, height_px=96, seconds=0.7)
    once = make_bench_clip(spec, tmp_path / "once.mp4")
    often = list(read_frames(repeat_video(once, tmp_path / "often.mp4", 3)))
    pictures = [frame.rgb for frame in read_frames(once)]
    assert len(often) == 3 * len(pictures)
    assert np.allclose([frame.time_s for frame in often], np.arange(len(often)) / 30, atol=1e-3)
    for index, frame in enumerate(often):
        assert np.array_equal(frame.rgb, pictures[index % len(pictures)])


def test_what_cannot_be_repeated_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="does not exist"):
        repeat_video(tmp_path / "none.mp4", tmp_path / "out.mp4", 2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"people": 0}, "at least one person"),
        ({"people": 40, "width_px": 640}, "do not fit"),
        ({"seconds": 0.0}, "length in seconds"),
        ({"seconds": float("inf")}, "length in seconds"),
    ],
)
def test_impossible_clips_are_refused(wrong: dict[str, float], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        ClipSpec(**wrong)  # type: ignore[arg-type]
