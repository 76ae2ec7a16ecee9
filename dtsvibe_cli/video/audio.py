"""The sound of a source, carried into an mp4 beside new pictures."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer

from dtsvibe_cli.video.source import AudioPacket, clock_start_s, open_container

_log = logging.getLogger(__name__)

# Codecs that players accept inside mp4; the others are encoded anew as AAC, and so is MP3 at rates
# below 16 kHz, which mp4 cannot describe.
_COPIED_CODECS = frozenset({"aac", "ac3", "alac", "eac3", "flac", "mp3", "opus"})
_MP3_MIN_RATE = 16000
# Rates that AAC knows (ISO/IEC 14496-3, table 1.18).
_AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)


class AudioTrack:
    """The first audio stream of a source, written step by step beside the pictures.

    Without sound in the source it writes nothing. Damage in the sound costs sound, never pictures.
    """

    def __init__(self, source: Path, output: OutputContainer, *, start_s: Fraction) -> None:
        """Open the source and add the stream to the output, before anything is written to that.

        Args:
            source: A media file; image folders have no sound.
            output: The container to write to.
            start_s: Time in the source that becomes 0 in the output; sound before it is left out.

        Raises:
            VideoError: The source cannot be read.
        """
        self._output = output
        self._resources = ExitStack()
        self._packets: Iterator[AudioPacket] = iter(())
        self._waiting: AudioPacket | None = None
        if source.is_dir():
            return
        container = self._resources.enter_context(open_container(source))
        stream = next((s for s in container.streams.audio if s.codec_context is not None), None)
        if stream is None:
            return
        skip_s = start_s + clock_start_s(container)
        if _can_be_copied(stream):
            copy = output.add_stream_from_template(stream)
            self._packets = _copied_packets(container, stream, copy, skip_s)
        else:
            self._packets = _encoded_packets(container, stream, _aac_stream(output, stream), skip_s)

    def write_until(self, end_s: Fraction) -> None:
        """Write the sound that begins before a time of the output."""
        while True:
            packet, self._waiting = self._waiting or next(self._packets, None), None
            if packet is None:
                return
            if (packet.pts or 0) * packet.time_base >= end_s:
                self._waiting = packet
                return
            self._output.mux(packet)

    def close(self) -> None:
        """Release the source."""
        self._resources.close()


def _packets(container: InputContainer, stream: AudioStream) -> Iterator[AudioPacket]:
    """The stream's packets up to its end or to damage that hides the rest."""
    try:
        yield from container.demux(stream)
    except av.FFmpegError as error:
        _log.warning("The sound of %s is damaged; its end is missing (%s).", container.name, error)


def _can_be_copied(stream: AudioStream) -> bool:
    """Whether players accept the sound inside mp4 as it is."""
    codec = stream.codec_context.codec.canonical_name
    return codec in _COPIED_CODECS and not (codec == "mp3" and stream.rate < _MP3_MIN_RATE)


def _copied_packets(
    container: InputContainer, stream: AudioStream, copy: AudioStream, skip_s: Fraction
) -> Iterator[AudioPacket]:
    """Packets as they are stored, moved in time."""
    last_dts: int | None = None
    for packet in _packets(container, stream):
        if packet.dts is None:  # the empty packet at the end
            continue
        shift = round(skip_s / packet.time_base)
        pts = packet.dts if packet.pts is None else packet.pts
        if shift and pts + (packet.duration or 1) <= shift:
            continue
        if last_dts is not None and packet.dts <= last_dts:  # damage; mp4 wants them rising
            continue
        last_dts = packet.dts
        packet.pts, packet.dts = pts - shift, packet.dts - shift
        packet.stream = copy
        yield packet


def _aac_stream(output: OutputContainer, stream: AudioStream) -> AudioStream:
    """An AAC stream as near to the given one as the codec allows: its rate, at most stereo."""
    rate = stream.rate if stream.rate in _AAC_RATES else 48000
    layout = "mono" if stream.channels == 1 else "stereo"
    return output.add_stream("aac", rate=rate, layout=layout)


def _encoded_packets(
    container: InputContainer, stream: AudioStream, aac: AudioStream, skip_s: Fraction
) -> Iterator[AudioPacket]:
    """The sound encoded anew, moved in time."""
    time_base = stream.time_base or Fraction(1, stream.rate)
    shift = round(skip_s / time_base)
    num_damaged = 0
    for packet in _packets(container, stream):
        try:
            frames = stream.decode(packet)
        except av.FFmpegError:
            num_damaged += 1
            continue
        for frame in frames:
            length = round(Fraction(frame.samples, frame.sample_rate) / time_base)
            # a frame across the start keeps a time before 0, which mp4 players leave out
            if frame.pts is not None and frame.pts + length > shift:
                frame.pts -= shift
                yield from aac.encode(frame)
    yield from aac.encode(None)
    if num_damaged:
        _log.warning("The sound of %s is damaged in %d place(s).", container.name, num_damaged)
