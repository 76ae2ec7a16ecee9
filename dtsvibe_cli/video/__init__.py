"""Read frames with their times, probe, write video; no other module opens a video.

Times count from the start of the file, in seconds or as ``pts * time_base``: what ``Frame.time_s``
says, what ``start_s`` and ``end_s`` are compared with, and where copied audio is placed.
"""

from dtsvibe_cli.video.probe import probe
from dtsvibe_cli.video.reader import read_frames
from dtsvibe_cli.video.webcam import record_webcam
from dtsvibe_cli.video.writer import VideoWriter

__all__ = ["VideoWriter", "probe", "read_frames", "record_webcam"]
