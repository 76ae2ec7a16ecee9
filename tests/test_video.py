"""Video in and out, on files made here."""

import logging
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from dtsvibe_cli.errors import ConfigError, VideoError
from dtsvibe_cli.video import VideoWriter, probe, read_frames, record_webcam

NTSC = Fraction(30000, 1001)
WIDTH, HEIGHT = 96, 64
# position of the display matrix after the name of the track header box (ISO/IEC 14496-12, 8.3.2)
TKHD_MATRIX_OFFSET = 44


def picture(index: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A red left half over a grey that brightens with time; the top right corner is blue."""
    rgb = np.full((height, width, 3), 40 + 4 * (index % 40), dtype=np.uint8)
    rgb[:, : width // 2] = (200, 30, 30)
    rgb[: height // 2, width // 2 :] = (30, 30, 200)
    return rgb


def make_video(
    path: Path,
    *,
    rate: Fraction = NTSC,
    times: Iterable[int] = range(12),
    time_base: Fraction | None = None,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    movflags: str = "+faststart",
    noise: bool = False,
    sample_aspect_ratio: Fraction | None = None,
    metadata: dict[str, str] | None = None,
    audio: str | None = None,
    audio_rate: int = 8000,
) -> Path:
    """Write a video with plain PyAV, apart from the writer under test."""
    options = {"movflags": movflags} if movflags and path.suffix in (".mp4", ".mov") else {}
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", options=options) as output:
        output.metadata.update(metadata or {})
        options = {"preset": "ultrafast", "g": "4", "crf": "12"}
        stream = output.add_stream("libx264", rate=rate, options=options)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv444p" if size[0] % 2 or size[1] % 2 else "yuv420p"
        if sample_aspect_ratio is not None:
            stream.codec_context.sample_aspect_ratio = sample_aspect_ratio
        if audio is not None:
            sound = output.add_stream(audio, rate=audio_rate, layout="mono")
        stream.codec_context.time_base = time_base = time_base or 1 / rate
        end = 0
        for index, pts in enumerate(times):
            rgb = rng.integers(0, 256, (*size[::-1], 3), np.uint8) if noise else None
            frame = av.VideoFrame.from_ndarray(picture(index, *size) if rgb is None else rgb)
            frame.pts, frame.time_base, end = pts, time_base, pts + 1
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if audio is not None:
            samples = round(end * time_base * audio_rate)
            tone = (8000 * np.sin(np.arange(samples) * 0.3)).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
            frame.rate, frame.pts, frame.time_base = audio_rate, 0, Fraction(1, audio_rate)
            output.mux(sound.encode(frame))
            output.mux(sound.encode(None))
    return path


def write_video(path: Path, source: Path, **options: Any) -> Path:
    """Copy a video through the reader and the writer under test."""
    with VideoWriter(path, frame_rate=probe(source).frame_rate, **options) as writer:
        for frame in read_frames(source):
            writer.write(frame.rgb, pts=frame.pts, time_base=frame.time_base)
    return path


def turn(path: Path, quarters: int) -> None:
    """Set the display matrix of an mp4: ``quarters`` quarter turns clockwise, as phones store."""
    cos, sin = [(1, 0), (0, 1), (-1, 0), (0, -1)][quarters]
    one = 1 << 16
    matrix = [cos * one, sin * one, 0, -sin * one, cos * one, 0, 0, 0, 1 << 30]
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + TKHD_MATRIX_OFFSET
    data[start : start + 36] = np.array(matrix, dtype=">i4").tobytes()
    path.write_bytes(bytes(data))


def times(source: Path, **options: Any) -> list[Fraction]:
    return [frame.pts * frame.time_base for frame in read_frames(source, **options)]


def audio_of(path: Path) -> tuple[str, list[tuple[float, bytes]]]:
    """Codec and (time, payload) of every audio packet."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        packets = [p for p in container.demux(stream) if p.size]
        return stream.codec_context.name, [(float(p.pts * p.time_base), bytes(p)) for p in packets]


# Reading


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


# Writing


def test_written_file_is_h264_that_browsers_play(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4")
    path = write_video(tmp_path / "out.mp4", source)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert (context.colorspace, context.color_primaries, context.color_trc) == (1, 1, 1)
        assert context.color_range == 1
    assert probe(path).frame_rate == NTSC
    assert times(path) == times(source)
    assert list(tmp_path.glob(".*")) == []


def test_colours_survive(tmp_path: Path) -> None:
    path = tmp_path / "colours.mp4"
    colours = [(255, 255, 255), (0, 0, 0), (220, 40, 40), (40, 220, 40), (40, 40, 220)]
    with VideoWriter(path, frame_rate=Fraction(25), crf=1) as writer:
        for pts, colour in enumerate(colours):
            rgb = np.broadcast_to(np.array(colour, np.uint8), (HEIGHT, WIDTH, 3))
            writer.write(rgb, pts=pts, time_base=Fraction(1, 25))
    for frame, colour in zip(read_frames(path), colours, strict=True):
        assert np.abs(frame.rgb.astype(int) - colour).max() <= 4


def test_variable_times_survive_and_stuck_ones_move_on(tmp_path: Path) -> None:
    path = tmp_path / "vfr.mp4"
    with VideoWriter(path, frame_rate=Fraction(30)) as writer:
        for pts in [0, 33, 70, 70, 300, 299, 900]:
            writer.write(picture(pts), pts=pts, time_base=Fraction(1, 1000))
    expected = [0, 33, 70, 71, 300, 301, 900]
    assert times(path) == [Fraction(stamp, 1000) for stamp in expected]


def test_odd_sizes_are_padded_to_even(tmp_path: Path) -> None:
    path = tmp_path / "odd.mp4"
    rgb = picture(0, 97, 63)
    with VideoWriter(path, frame_rate=Fraction(25), crf=1) as writer:
        writer.write(rgb, pts=0, time_base=Fraction(1, 25))
    read = next(read_frames(path)).rgb
    assert read.shape == (64, 98, 3)
    assert np.abs(read[:63, :97].astype(int) - rgb).mean() < 3
    assert np.abs(read[63].astype(int) - read[62]).max() <= 4


def test_sound_is_copied_packet_by_packet(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4", times=range(40), audio="aac")
    assert probe(source).has_audio
    path = write_video(tmp_path / "out.mp4", source, audio_from=source)
    assert audio_of(path) == audio_of(source)


def test_sound_is_cut_with_the_pictures(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4", rate=Fraction(10), times=range(30), audio="aac")
    path = tmp_path / "out.mp4"
    with VideoWriter(path, frame_rate=Fraction(10), audio_from=source, start_s=1.0) as writer:
        for frame in read_frames(source, start_s=1.0, end_s=2.0):
            writer.write(frame.rgb, pts=frame.pts, time_base=frame.time_base)
    assert times(path) == [Fraction(i, 10) for i in range(10)]
    _, packets = audio_of(path)
    packet_s = 1024 / 8000
    assert -packet_s < packets[0][0] <= 0
    assert 1 - packet_s <= packets[-1][0] < 1
    stored = {data: time_s for time_s, data in audio_of(source)[1]}
    for time_s, data in packets[2:-2]:
        assert stored[data] - time_s == pytest.approx(1.0, abs=1e-3)


def test_start_between_two_frames_keeps_their_distance(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    with VideoWriter(path, frame_rate=Fraction(10), start_s=0.25) as writer:
        for pts in range(3, 6):
            writer.write(picture(pts), pts=pts, time_base=Fraction(1, 10))
    with av.open(str(path)) as container:
        decoded = [frame.pts * frame.time_base for frame in container.decode(video=0)]
    assert decoded == [Fraction(5, 100), Fraction(15, 100), Fraction(25, 100)]


@pytest.mark.parametrize(("name", "audio"), [("in.mov", "pcm_s16le"), ("in.mkv", "libmp3lame")])
def test_sound_that_mp4_cannot_carry_becomes_aac(tmp_path: Path, name: str, audio: str) -> None:
    source = make_video(tmp_path / name, rate=Fraction(10), times=range(20), audio=audio)
    path = write_video(tmp_path / "out.mp4", source, audio_from=source)
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        assert (stream.codec_context.name, stream.rate) == ("aac", 8000)
        samples = np.concatenate([f.to_ndarray()[0] for f in container.decode(stream)])
    assert len(samples) == pytest.approx(16000, abs=2048)
    assert np.abs(samples).max() == pytest.approx(8000 / 32768, rel=0.2)


@pytest.mark.parametrize("audio", ["libmp3lame", "flac", "ac3", "libopus"])
def test_sound_of_other_codecs_is_copied_too(tmp_path: Path, audio: str) -> None:
    source = make_video(tmp_path / "in.mkv", times=range(60), audio=audio, audio_rate=48000)
    path = write_video(tmp_path / "out.mp4", source, audio_from=source)
    codec, packets = audio_of(path)
    source_codec, source_packets = audio_of(source)
    assert codec == source_codec
    assert [data for _, data in packets] == [data for _, data in source_packets]


def test_sound_of_a_transport_stream_is_copied(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.ts", rate=Fraction(25), times=range(40), audio="aac")
    path = write_video(tmp_path / "out.mp4", source, audio_from=source)
    with av.open(str(path)) as container:
        samples = [f.to_ndarray()[0] for f in container.decode(audio=0)]
    assert np.abs(np.concatenate(samples)).max() == pytest.approx(8000 / 32768, rel=0.2)


def test_source_without_sound_is_no_error(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4")
    path = write_video(tmp_path / "out.mp4", source, audio_from=source)
    assert not probe(path).has_audio


@pytest.mark.parametrize("num_frames", [0, 3])
def test_failure_leaves_the_folder_as_it_was(tmp_path: Path, num_frames: int) -> None:
    path = tmp_path / "out.mp4"
    path.write_text("the file from before")

    def interrupted() -> None:
        with VideoWriter(path, frame_rate=Fraction(25)) as writer:
            for pts in range(num_frames):
                writer.write(picture(pts), pts=pts, time_base=Fraction(1, 25))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "the file from before"


def test_nothing_written_is_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(VideoError, match="no frames"),
        VideoWriter(tmp_path / "out.mp4", frame_rate=Fraction(25)),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_unusable_target_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.mp4").mkdir()
    for name in ["missing/out.mp4", "file/out.mp4", "folder.mp4", "out.avi"]:
        with pytest.raises(VideoError, match=r"cannot be written|is a folder|must end in"):
            VideoWriter(tmp_path / name, frame_rate=Fraction(25))
    with pytest.raises(VideoError, match="does not exist"):
        VideoWriter(tmp_path / "a.mp4", frame_rate=Fraction(25), audio_from=tmp_path / "b.mp4")


def test_unreadable_sound_source_leaves_nothing(tmp_path: Path) -> None:
    source = tmp_path / "notes.txt"
    source.write_text("hello\nworld\n" * 50)
    with (
        pytest.raises(VideoError, match="text file"),
        VideoWriter(tmp_path / "out.mp4", frame_rate=Fraction(25), audio_from=source) as writer,
    ):
        writer.write(picture(0), pts=0, time_base=Fraction(1, 25))
    assert list(tmp_path.iterdir()) == [source]


# Webcam


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


def test_missing_webcam_is_one_sentence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(VideoError, match="no camera 63"):
        record_webcam(63, tmp_path / "cam.mp4")
    assert capfd.readouterr() == ("", "")
