"""Read frames with their times, probe, write video; no other module opens a video.

Times count from the start of the file, in seconds or as ``pts * time_base``: what ``Frame.time_s``
says, what ``start_s`` and ``end_s`` are compared with, and where copied audio is placed.
"""

from dtsvibe_cli.video.png_folder import frames_to_pngs, pngs_to_video
from dtsvibe_cli.video.probe import probe
from dtsvibe_cli.video.reader import read_frames
from dtsvibe_cli.video.webcam import record_webcam
from dtsvibe_cli.video.writer import VideoWriter

__all__ = [
    "VideoWriter",
    "frames_to_pngs",
    "pngs_to_video",
    "probe",
    "read_frames",
    "record_webcam",
]
