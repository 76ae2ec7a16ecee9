"""The reference: all networks on every frame, the way VIBE's demo works, on equal work.

Written from the published description (Kocabas et al. 2020) and from what its public demo does
(``demo.py`` in github.com/mkocabas/VIBE, and the package multi-person-tracker), step by step:

1. FFmpeg writes every frame as a PNG file (``video_to_images`` in ``lib/utils/demo_utils.py``).
2. The tracker reads all files, in line, and shows a dozen at a time to YOLOv3.
3. For each person, all files with that person are read again and the crops cut
   (``lib/dataset/inference.py``); ResNet-50, GRU and HMR's regressor see them; all vertices are
   kept to the end.
4. All files are read a third time, each person is drawn in a pass of its own
   (:mod:`~dtsvibe_cli.bench.reference_drawing`), and the picture is written as a PNG file.
5. FFmpeg makes the video of these files (``images_to_video``), and both folders are removed.

In the stages, 1 and the reading in 2 are ``decode``, the reading in 3 is ``crop``, reading and
writing in 4 are drawing, and 5 is ``encode``.

The networks are untrained (:mod:`~dtsvibe_cli.bench.reference_networks`). Their detectors find
nobody and their bodies are nobody's, so crops are cut where dtsvibe found the people, and dtsvibe's
bodies are posed and drawn. The picture is laid out and shrunk as dtsvibe's, with the frame beside
it, while the demo's has the drawn frame alone at full size: for 1280x720 a ninth fewer pixels
to write and encode.

Where the demo does more, this is faster: networks are loaded and warm, FFmpeg is a library and no
program to start, the tracker (SORT) and the pickle file with all results are left out, frames are
not copied before they are cropped, and the body is posed without smplx and without joints. In step
3 the demo's files are read by 16 processes, but each by itself reads a whole batch of 450 crops
while the networks wait: up to that length one process does it all, and on two cores more of them
would cost the same work. Here they are read in line, and no process has to start. The video keeps
its frame rate, where the demo's has 25 frames a second.
"""

import time
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from dtsvibe_cli.bench.measured import Measured, complete_stages
from dtsvibe_cli.bench.memory import PeakMemory
from dtsvibe_cli.bench.product import people_per_frame
from dtsvibe_cli.bench.reference_drawing import PersonByPerson
from dtsvibe_cli.bench.reference_files import FrameFiles
from dtsvibe_cli.bench.reference_networks import (
    CROP_SIDE_PX,
    DETECTOR_BATCH,
    ReferenceDetector,
    ReferenceName,
    VibeNetwork,
    make_detector,
)
from dtsvibe_cli.datatypes import PersonMotion, VideoMotion
from dtsvibe_cli.devices import choose_device
from dtsvibe_cli.results import load_results
from dtsvibe_cli.smpl import BodyModel
from dtsvibe_cli.smpl_files import load_body_model
from dtsvibe_cli.stages.crops import cut
from dtsvibe_cli.stages.overlay import OverlayOptions, panel_size
from dtsvibe_cli.timing import Stage, recorded_stages
from dtsvibe_cli.video import read_frames

_MEAN, _STD = (np.array(c, np.float32) for c in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
"""ImageNet's."""


class _Way(NamedTuple):
    """What a reference pipeline consists of."""

    detector: ReferenceDetector
    network: VibeNetwork
    body: BodyModel
    device: str


def measure_reference(
    name: ReferenceName,
    clip: Path,
    motion_file: Path,
    out: Path,
    *,
    num_frames: int = 8,
    device: str = "auto",
    max_width_px: int = 1920,
    threads: int = 1,
) -> Measured:
    """Time a reference pipeline on some frames of a clip, networks loaded and warm.

    Args:
        name: ``vibe`` with YOLOv3-416, or ``nano`` with YOLO11n in its place.
        clip: The video.
        motion_file: What dtsvibe found in it.
        out: Folder of the video that is written, and of the files on the way there.
        num_frames: Frames to work on, in a row, with about as many people as the clip has.
        device: Where the networks run.
        max_width_px: As of dtsvibe's overlay.
        threads: CPU threads of torch.

    Raises:
        DtsVibeError: The clip or the results cannot be read, or nothing draws.
    """
    device = choose_device(device)
    torch.set_num_threads(threads)
    motion = load_results(motion_file)
    counts = people_per_frame(motion)
    rows = _typical_rows(counts, min(num_frames, len(counts)))
    way = _loaded(name, device)
    frames = read_frames(clip)
    for _ in islice(frames, motion.first_frame + rows.start):
        pass
    size = motion.video.width_px, motion.video.height_px
    way.detector.find([np.zeros((size[1], size[0], 3), np.uint8)])
    way.network.look(torch.zeros(1, 3, CROP_SIDE_PX, CROP_SIDE_PX, device=device))
    options = OverlayOptions(max_width_px=max_width_px)
    wait = partial(torch.cuda.synchronize, device) if device.startswith("cuda") else None
    with PersonByPerson(*size) as drawer, PeakMemory() as memory, recorded_stages(wait) as stages:
        started_s, started_cpu_s = time.perf_counter(), time.process_time()
        with FrameFiles(out) as files:
            files.extract(islice(frames, len(rows)))
            _work(files, rows, motion, way, drawer, options)
            files.to_video(out / f"{name}.mp4", frame_rate=motion.video.frame_rate)
        seconds, cpu_seconds = time.perf_counter() - started_s, time.process_time() - started_cpu_s
    return Measured(
        way=name,
        device=device,
        renderer=drawer.name,
        num_frames=len(rows),
        people_per_frame=counts[rows.start : rows.stop].mean().item(),
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        stages=complete_stages(stages.wall_s, seconds),
        stages_cpu=complete_stages(stages.cpu_s),
        peak_memory_mib=memory.peak_mib,
    )


@cache
def _loaded(name: ReferenceName, device: str) -> _Way:
    """The networks and the body; made once a process."""
    network = VibeNetwork().eval().to(device)
    return _Way(make_detector(name, device), network, load_body_model(), device)


def _typical_rows(counts: Float[np.ndarray, " frame"], length: int) -> range:
    """The frames in a row whose mean number of people is closest to the whole clip's."""
    sums = np.convolve(counts, np.ones(length), "valid")
    start = int(np.abs(sums / length - counts.mean()).argmin())
    return range(start, start + length)


def _work(
    files: FrameFiles,
    rows: range,
    motion: VideoMotion,
    way: _Way,
    drawer: PersonByPerson,
    options: OverlayOptions,
) -> None:
    """From the files of some frames to those of the drawn ones; ``rows`` are the motion's."""
    for start in range(0, len(rows), DETECTOR_BATCH):
        with Stage("decode"):
            numbers = range(start, min(start + DETECTOR_BATCH, len(rows)))
            pictures = [files.read_rgb(number) for number in numbers]
        with Stage("detect"):
            way.detector.find(pictures)
    bodies = _bodies(files, rows, motion, way)
    faces = way.body.faces.numpy()
    size = panel_size(motion.video.width_px, motion.video.height_px, options)
    for number, meshes in enumerate(bodies):
        with Stage("draw"):
            frame = files.read_bgr(number)
            drawn = drawer.draw(frame, meshes, faces, motion.camera)
            panels = [
                cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in (frame, drawn)
            ]
            files.write_bgr(number, np.concatenate(panels, axis=1, dtype=np.uint8))


def _bodies(
    files: FrameFiles, rows: range, motion: VideoMotion, way: _Way
) -> list[list[Float[np.ndarray, "vertex 3"]]]:
    """All vertices of everybody, by frame, kept to the end as VIBE keeps them."""
    by_frame: list[list[np.ndarray]] = [[] for _ in rows]
    for person in motion.people:
        numbers = person.track.frame_index - motion.first_frame - rows.start
        seen = np.flatnonzero((numbers >= 0) & (numbers < len(rows)))
        if len(seen) == 0:
            continue
        with Stage("crop"):
            crops = [_crop(files.read_rgb(int(numbers[k])), person.crops_cxcys[k]) for k in seen]
        with Stage("v_cnn"):
            batch = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous()
            features = way.network.look(batch.to(way.device))
        with Stage("transformer"):
            way.network.move(features).cpu()
        with Stage("body"):
            vertices = _vertices(person, seen, way.body)
        for k, mesh in zip(seen, vertices, strict=True):
            by_frame[numbers[k]].append(mesh)
    return by_frame


def _crop(
    rgb: UInt8[np.ndarray, "height width 3"], crop_cxcys: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "side side 3"]:
    """A person's picture as ImageNet's networks take it."""
    picture = cut(rgb, np.append(crop_cxcys, 0.0), CROP_SIDE_PX)
    normal: Float[np.ndarray, "side side 3"] = (picture.astype(np.float32) / 255 - _MEAN) / _STD
    return normal


@torch.inference_mode()
def _vertices(
    person: PersonMotion, rows: np.ndarray, body: BodyModel
) -> Float[np.ndarray, "frame vertex 3"]:
    smpl = person.smpl
    full_pose = np.concatenate([smpl.global_orient[rows, None], smpl.body_pose[rows]], axis=1)
    given = (full_pose, smpl.betas[rows], smpl.transl[rows])
    posed: Tensor = body.vertices(*(torch.as_tensor(array).float() for array in given))
    return np.asarray(posed.numpy())
