from fractions import Fraction
from pathlib import Path

import made_results
import numpy as np
import pytest

from dtsvibe_cli.errors import ConfigError
from dtsvibe_cli.figures.sampling import chosen_frames, names_of, read_pictures, spread
from dtsvibe_cli.video import VideoWriter, read_frames


@pytest.mark.parametrize(("first", "last", "count"), [(0, 149, 7), (10, 12, 2), (5, 5, 4)])
def test_frames_are_spread_inside_and_evenly(first: int, last: int, count: int) -> None:
    frames = spread(first, last, count)
    assert len(frames) == min(count, last - first + 1)
    assert first <= frames[0]
    assert frames[-1] <= last
    assert np.ptp(np.diff(frames)) <= 1 if len(frames) > 1 else frames == [first]


def test_frames_asked_for_come_in_order_and_must_exist() -> None:
    assert chosen_frames([30, 10, 30], 0, 30) == [10, 30]
    with pytest.raises(ConfigError, match="no frame 31: give frames from 5 to 30"):
        chosen_frames([10, 31], 5, 30)


def test_results_are_called_after_what_tells_them_apart() -> None:
    assert names_of([Path("walk_smpl.npz"), Path("x/run_smpl.npz")], []) == ["walk", "run"]
    assert names_of([Path("a/w_smpl.npz"), Path("b/w_smpl.npz")], []) == ["a", "b"]
    assert names_of([Path("a"), Path("b")], ["ours", "theirs"]) == ["ours", "theirs"]
    with pytest.raises(ConfigError, match="2 results and 1 labels"):
        names_of([Path("a"), Path("b")], ["ours"])


def test_pictures_are_those_of_the_frames() -> None:
    pictures = read_pictures(made_results.made_motion(), [7, 2])
    frames = {frame.index: frame.rgb for frame in read_frames(made_results.CLIP, end_s=0.3)}
    assert set(pictures) == {2, 7}
    for index, picture in pictures.items():
        np.testing.assert_array_equal(picture, frames[index])


def test_another_video_is_refused(tmp_path: Path) -> None:
    motion = made_results.made_motion()
    small = tmp_path / "small.mp4"
    with VideoWriter(small, frame_rate=Fraction(25)) as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8), pts=0, time_base=Fraction(1, 25))
    with pytest.raises(ConfigError, match=r"64x48 .* 640x480"):
        read_pictures(motion, [0], small)
    with pytest.raises(ConfigError, match="has no frame 4000"):
        read_pictures(motion, [4000])
