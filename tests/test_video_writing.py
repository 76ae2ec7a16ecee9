"""Video out."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from made_videos import HEIGHT, NTSC, WIDTH, audio_of, make_video, picture, times, write_video

from dtsvibe_cli.errors import VideoError
from dtsvibe_cli.video import VideoWriter, probe, read_frames


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
