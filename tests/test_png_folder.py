from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from dtsvibe_cli.datatypes import Frame
from dtsvibe_cli.errors import VideoError
from dtsvibe_cli.video import frames_to_pngs, pngs_to_video, probe, read_frames

RATE = Fraction(24)


def picture(number: int) -> np.ndarray:
    """A gradient with a colour of its own."""
    rgb = np.empty((48, 64, 3), np.uint8)
    rgb[..., 0] = np.linspace(0, 255, 64)
    rgb[..., 1], rgb[..., 2] = 40 * number, 200 - 40 * number
    return rgb


def frames(count: int) -> Iterator[Frame]:
    for number in range(count):
        yield Frame(index=number + 7, rgb=picture(number), pts=number, time_base=1 / RATE)


@pytest.mark.parametrize("name", ["pngs", "100%done"])
def test_frames_become_files_without_loss(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    frames_to_pngs(frames(3), folder)
    paths = sorted(folder.iterdir())
    assert [path.name for path in paths] == ["000001.png", "000002.png", "000003.png"]
    for number, path in enumerate(paths):
        stored = cv2.imread(str(path))
        assert stored is not None
        np.testing.assert_array_equal(stored[..., ::-1], picture(number))


@pytest.mark.parametrize("name", ["pngs", "100%done"])
def test_files_become_a_video_of_the_baseline_profile(tmp_path: Path, name: str) -> None:
    folder, video = tmp_path / name, tmp_path / "out.mp4"
    folder.mkdir()
    for number in range(4):
        assert cv2.imwrite(str(folder / f"{number:06d}.png"), picture(number)[..., ::-1])
    pngs_to_video(folder, video, frame_rate=RATE)
    assert probe(video).frame_rate == RATE
    shown = list(read_frames(video))
    assert [frame.time_s for frame in shown] == pytest.approx([n / 24 for n in range(4)])
    for number, frame in enumerate(shown):
        assert np.abs(frame.rgb.astype(int) - picture(number)).mean() < 8
    with av.open(str(video)) as container:
        assert [packet.is_keyframe for packet in container.demux() if packet.size] == [
            True, False, False, False
        ]  # fmt: skip
        codec = container.streams.video[0].codec_context
        assert (codec.name, codec.pix_fmt) == ("h264", "yuv420p")
        header = codec.extradata or b""
    assert (header[1], header[3]) == (66, 30)  # baseline, 3.0: ISO/IEC 14496-15, 5.3.3.1
    settings = video.read_bytes()  # x264 writes them into the stream
    assert b"subme=7" in settings  # preset medium
    assert b"crf=23.0" in settings


def test_a_folder_without_files_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="no frames for it"):
        pngs_to_video(tmp_path, tmp_path / "out.mp4", frame_rate=RATE)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="none cannot be written"):
        frames_to_pngs(frames(1), tmp_path / "none")
