"""The same video several times over, without decoding it."""

from pathlib import Path

import av

from dtsvibe_cli.errors import VideoError
from dtsvibe_cli.video.source import open_container, video_stream


def repeat_video(source: Path, out_path: Path, times: int) -> Path:
    """Write the pictures of a video file ``times`` times in a row; its sound is left out.

    Packets are copied, so it is quick and the pictures stay exactly as they are.

    Raises:
        VideoError: The source cannot be read, or its length is not known.
    """
    part = out_path.with_name(f".{out_path.stem}.part{out_path.suffix}")
    try:
        with av.open(f"file:{part}", mode="w") as output:
            with open_container(source) as container:
                given = video_stream(container, source)
                if not given.duration:
                    raise VideoError(f"{source} does not say how long it is; give an mp4 file.")
                written, length = output.add_stream_from_template(given), given.duration
            for turn in range(times):
                with open_container(source) as container:
                    for packet in container.demux(video_stream(container, source)):
                        if packet.dts is None or packet.pts is None:
                            continue  # the mark of the end
                        packet.dts += turn * length
                        packet.pts += turn * length
                        packet.stream = written
                        output.mux(packet)
        part.replace(out_path)
    finally:
        part.unlink(missing_ok=True)
    return out_path
