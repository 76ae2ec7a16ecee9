"""Video in, from files made here."""

import logging
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from made_videos import HEIGHT, NTSC, WIDTH, make_video, picture, times, turn
from PIL import ExifTags, Image

from dtsvibe_cli.errors import ConfigError, VideoError
from dtsvibe_cli.video import probe, read_frames


def test_ntsc_rate_and_times_stay_exact(tmp_path: Path) -> None:
    source = make_video(tmp_path / "ntsc.mp4")
    info = probe(source)
    assert (info.width_px, info.height_px, info.num_frames) == (WIDTH, HEIGHT, 12)
    assert info.frame_rate == NTSC
    assert (info.rotation_deg, info.has_audio, info.focal_length_px) == (0, False, None)
    frames = list(read_frames(source))
    assert [frame.index for frame in frames] == list(range(12))
    assert [frame.pts * frame.time_base for frame in frames] == [i / NTSC for i in range(12)]
    for frame in frames:
        assert np.abs(frame.rgb.astype(int) - picture(frame.index)).mean() < 3


def test_variable_frame_rate_is_read_by_its_timestamps(tmp_path: Path) -> None:
    stamps = [0, 33, 70, 75, 300, 900, 901]
    source = make_video(tmp_path / "vfr.mp4", times=stamps, time_base=Fraction(1, 1000))
    assert times(source) == [Fraction(stamp, 1000) for stamp in stamps]


def test_a_rate_that_is_not_stated_is_measured(tmp_path: Path) -> None:
    """As browsers record: the clock ticks in milliseconds, and frames come when they come."""
    stamps = np.cumsum(np.random.default_rng(0).integers(28, 54, 60))
    live = make_video(
        tmp_path / "live.mkv",
        rate_is_stated=False,
        times=[int(stamp) for stamp in stamps],
        time_base=Fraction(1, 1000),
    )
    assert 20 < probe(live).frame_rate < 30
    assert np.allclose(np.array(times(live), float) * 1000, stamps - stamps[0])


@pytest.mark.parametrize(("quarters", "rotation_deg"), [(0, 0), (1, 270), (2, 180), (3, 90)])
def test_phone_video_is_turned_upright(tmp_path: Path, quarters: int, rotation_deg: int) -> None:
    source = make_video(tmp_path / "phone.mp4", times=range(2))
    turn(source, quarters)
    info = probe(source)
    frame = next(read_frames(source))
    expected = np.rot90(picture(0), -quarters)
    assert info.rotation_deg == rotation_deg
    assert (info.height_px, info.width_px) == frame.rgb.shape[:2] == expected.shape[:2]
    assert np.abs(frame.rgb.astype(int) - expected).mean() < 3


def test_wide_pixels_are_made_square(tmp_path: Path) -> None:
    source = make_video(tmp_path / "sar.mp4", times=range(2), sample_aspect_ratio=Fraction(3, 2))
    frame = next(read_frames(source))
    assert frame.rgb.shape == (HEIGHT, WIDTH * 3 // 2, 3)
    assert (probe(source).width_px, probe(source).height_px) == (WIDTH * 3 // 2, HEIGHT)


def test_odd_sizes_are_read(tmp_path: Path) -> None:
    source = make_video(tmp_path / "odd.mp4", times=range(2), size=(97, 63))
    assert [frame.rgb.shape for frame in read_frames(source)] == [(63, 97, 3)] * 2


def test_one_frame_is_a_video(tmp_path: Path) -> None:
    source = make_video(tmp_path / "one.mp4", times=range(1))
    assert times(source) == [0]


def test_transport_stream_counts_from_its_start(tmp_path: Path) -> None:
    source = make_video(tmp_path / "stream.ts", rate=Fraction(25), times=range(35, 47))
    with av.open(str(source)) as container:
        assert container.start_time == 1_400_000
    assert times(source) == [Fraction(i, 25) for i in range(12)]


def test_start_and_end_keep_the_indices_of_the_file(tmp_path: Path) -> None:
    source = make_video(tmp_path / "cut.mp4", rate=Fraction(10))
    frames = list(read_frames(source, start_s=0.3, end_s=0.6))
    assert [frame.index for frame in frames] == [3, 4, 5]
    assert [frame.time_s for frame in frames] == [0.3, 0.4, 0.5]
    with pytest.raises(VideoError, match="no frame between"):
        list(read_frames(source, start_s=5.0))
    with pytest.raises(ConfigError, match="must lie after"):
        list(read_frames(source, start_s=0.5, end_s=0.5))


def test_focal_length_comes_from_quicktime_tags(tmp_path: Path) -> None:
    source = make_video(
        tmp_path / "phone.mov",
        times=range(2),
        movflags="use_metadata_tags",
        metadata={"com.apple.quicktime.camera.focal_length.35mm_equivalent": "26"},
    )
    expected = 26 / np.hypot(36, 24) * np.hypot(WIDTH, HEIGHT)
    assert probe(source).focal_length_px == pytest.approx(expected)


# Damage


def test_cut_file_gives_its_frames_and_a_warning(tmp_path: Path) -> None:
    source = make_video(tmp_path / "whole.mp4", times=range(30), noise=True)
    whole = times(source)
    data = source.read_bytes()
    source.write_bytes(data[: len(data) * 6 // 10])
    warnings: list[str] = []
    read = times(source, on_warning=warnings.append)
    assert 10 < len(read) < 25
    assert read == whole[: len(read)]
    assert len(warnings) == 1
    assert "whole.mp4 is damaged" in warnings[0]


def test_cut_matroska_is_noticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = make_video(tmp_path / "whole.mkv", times=range(60), noise=True)
    data = source.read_bytes()
    source.write_bytes(data[: len(data) // 2])
    with caplog.at_level(logging.WARNING):
        assert 20 < len(times(source)) < 40
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "cut off" in caplog.text


def test_damaged_packets_are_skipped_and_reported_once(tmp_path: Path) -> None:
    source = make_video(tmp_path / "bad.mp4", times=range(30), noise=True)
    whole = times(source)
    data = bytearray(source.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 9000] = bytes(9000)
    source.write_bytes(bytes(data))
    warnings: list[str] = []
    read = times(source, on_warning=warnings.append)
    assert 20 < len(read) < 30
    assert set(read) <= set(whole)
    assert read[-1] == whole[-1]
    assert len(warnings) == 1


def test_index_at_the_end_of_a_cut_file_is_one_error(tmp_path: Path) -> None:
    source = make_video(tmp_path / "cut.mp4", movflags="", noise=True)
    data = source.read_bytes()
    source.write_bytes(data[: len(data) // 2])
    with pytest.raises(VideoError, match="damaged, incomplete"):
        next(read_frames(source))


def make_audio_only(path: Path) -> None:
    with av.open(str(path), "w") as output:
        sound = output.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), "s16", "mono")
        frame.rate, frame.pts = 8000, 0
        output.mux(sound.encode(frame))
        output.mux(sound.encode(None))


def make_without_frames(path: Path) -> None:
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        output.start_encoding()


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("missing.mp4", lambda path: None, "does not exist"),
        ("empty.mp4", Path.touch, "empty file"),
        ("text.mp4", lambda path: path.write_text("hello\n" * 50), "cannot be read as video"),
        ("notes.txt", lambda path: path.write_text("hello\nworld\n" * 50), "text file"),
        ("folder", Path.mkdir, "holds no images"),
        ("sound.mp4", make_audio_only, "no video stream"),
        ("none.mp4", make_without_frames, "no (frame|video stream)"),
        ("broken.png", lambda path: path.write_bytes(b"\x89PNG\r\n"), "cannot be read as an image"),
    ],
)
def test_unusable_input_is_one_sentence(tmp_path: Path, name: str, make: Any, message: str) -> None:
    source = tmp_path / name
    make(source)
    with pytest.raises(VideoError, match=message) as read_error:
        list(read_frames(source))
    with pytest.raises(VideoError, match=message):
        probe(source)
    assert name in str(read_error.value)


# Image folders


def test_image_folder_is_read_in_natural_order(tmp_path: Path) -> None:
    for index in range(12):
        Image.fromarray(picture(index)).save(tmp_path / f"frame{index}.png")
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "._frame0.png").write_text("what macOS leaves on foreign disks")
    info = probe(tmp_path, frame_rate=NTSC)
    assert (info.num_frames, info.frame_rate) == (12, NTSC)
    assert (info.width_px, info.height_px, info.has_audio) == (WIDTH, HEIGHT, False)
    for index, frame in enumerate(read_frames(tmp_path, frame_rate=NTSC)):
        np.testing.assert_array_equal(frame.rgb, picture(index))
        assert frame.pts * frame.time_base == index / NTSC
    assert index == 11
    assert probe(tmp_path).frame_rate == 30


def test_images_of_two_sizes_name_the_odd_one(tmp_path: Path) -> None:
    for name, width in [("1.png", 8), ("2.png", 8), ("3.png", 10)]:
        Image.fromarray(picture(0, width, 8)).save(tmp_path / name)
    frames = read_frames(tmp_path)
    assert [next(frames).index, next(frames).index] == [0, 1]
    with pytest.raises(VideoError, match=r"3\.png is 10x8 pixels.*8x8"):
        next(frames)


def test_exif_gives_orientation_and_focal_length(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = 28
    path = tmp_path / "photo.jpg"
    Image.fromarray(picture(0)).save(path, exif=exif, quality=95)
    info = probe(path)
    frame = next(read_frames(path))
    assert (info.width_px, info.height_px) == (HEIGHT, WIDTH)
    assert np.abs(frame.rgb.astype(int) - np.rot90(picture(0), -1)).mean() < 3
    assert info.rotation_deg == 270
    assert info.focal_length_px == pytest.approx(28 / np.hypot(36, 24) * np.hypot(WIDTH, HEIGHT))


def test_sixteen_bit_image_keeps_its_brightness(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    Image.fromarray(np.full((4, 6), 0x8040, np.uint16)).save(path)
    assert np.unique(next(read_frames(path)).rgb) == [0x80]


def test_frame_rate_is_refused_where_it_means_nothing(tmp_path: Path) -> None:
    source = make_video(tmp_path / "own.mp4", times=range(1))
    with pytest.raises(ConfigError, match="its own timestamps"):
        probe(source, frame_rate=NTSC)
    Image.fromarray(picture(0)).save(tmp_path / "1.png")
    with pytest.raises(ConfigError, match="above 0"):
        next(read_frames(tmp_path, frame_rate=Fraction(0)))
