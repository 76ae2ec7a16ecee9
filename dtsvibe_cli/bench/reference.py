"""The reference: all networks on every frame, the way VIBE's demo works, on equal work.

Written from the published description (Kocabas et al. 2020 and its public demo): a detector sees
every frame, ResNet-50 every crop, a GRU and HMR's regressor follow, all vertices are kept, and each
person in each frame is drawn in a new scene of the frame's full size. What is left out makes it
faster than the demo: frames go through memory, not through PNG files, and tracking costs nothing.

The networks are untrained. Their detectors find nobody and their bodies are nobody's, so crops are
cut where dtsvibe found the people, and dtsvibe's bodies are posed and drawn. The picture is then
laid out, shrunk and encoded as dtsvibe's.
"""

import time
from collections.abc import Sequence
from functools import cache, partial
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from dtsvibe_cli.bench.measured import Measured, complete_stages
from dtsvibe_cli.bench.memory import PeakMemory
from dtsvibe_cli.bench.product import people_per_frame
from dtsvibe_cli.bench.reference_drawing import SceneAPerson
from dtsvibe_cli.bench.reference_networks import (
    CROP_SIDE_PX,
    ReferenceDetector,
    ReferenceName,
    VibeNetwork,
    make_detector,
)
from dtsvibe_cli.datatypes import Frame, PersonMotion, VideoMotion
from dtsvibe_cli.devices import choose_device
from dtsvibe_cli.results import load_results
from dtsvibe_cli.smpl import BodyModel
from dtsvibe_cli.smpl_files import load_body_model
from dtsvibe_cli.stages.crops import cut
from dtsvibe_cli.stages.overlay import OverlayOptions, panel_size
from dtsvibe_cli.timing import Stage, recorded_stages, staged_items
from dtsvibe_cli.video import VideoWriter, read_frames

_MEAN, _STD = (np.array(c, np.float32) for c in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
"""ImageNet's."""


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
        out: Folder of the video that is written.
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
    detector, network, body = _loaded(name, device)
    frames = read_frames(clip)
    for _ in islice(frames, motion.first_frame + rows.start):
        pass
    size = motion.video.width_px, motion.video.height_px
    detector.find([np.zeros((size[1], size[0], 3), np.uint8)])
    network.look(torch.zeros(1, 3, CROP_SIDE_PX, CROP_SIDE_PX, device=device))
    options = OverlayOptions(max_width_px=max_width_px)
    wait = partial(torch.cuda.synchronize, device) if device.startswith("cuda") else None
    with SceneAPerson(*size) as drawer, PeakMemory() as memory, recorded_stages(wait) as stages:
        started_s, started_cpu_s = time.perf_counter(), time.process_time()
        window = list(staged_items("decode", islice(frames, len(rows))))
        with Stage("detect"):
            detector.find([frame.rgb for frame in window])
        bodies = _bodies(window, motion, network, body, device)
        _draw(window, bodies, motion, body, drawer, options, out / f"{name}.mp4")
        seconds, cpu_seconds = time.perf_counter() - started_s, time.process_time() - started_cpu_s
    return Measured(
        way=name,
        device=device,
        renderer=drawer.name,
        num_frames=len(window),
        people_per_frame=counts[rows.start : rows.stop].mean().item(),
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        stages=complete_stages(stages.wall_s, seconds),
        stages_cpu=complete_stages(stages.cpu_s),
        peak_memory_mib=memory.peak_mib,
    )


@cache
def _loaded(name: ReferenceName, device: str) -> tuple[ReferenceDetector, VibeNetwork, BodyModel]:
    """The networks and the body; made once a process."""
    network = VibeNetwork().eval().to(device)
    return make_detector(name, device), network, load_body_model()


def _typical_rows(counts: Float[np.ndarray, " frame"], length: int) -> range:
    """The frames in a row whose mean number of people is closest to the whole clip's."""
    sums = np.convolve(counts, np.ones(length), "valid")
    start = int(np.abs(sums / length - counts.mean()).argmin())
    return range(start, start + length)


def _bodies(
    window: Sequence[Frame],
    motion: VideoMotion,
    network: VibeNetwork,
    body: BodyModel,
    device: str,
) -> dict[int, list[Float[np.ndarray, "vertex 3"]]]:
    """All vertices of everybody, by frame index, kept to the end as VIBE keeps them."""
    by_frame: dict[int, list[np.ndarray]] = {frame.index: [] for frame in window}
    for person in motion.people:
        index = person.track.frame_index
        rows = np.flatnonzero((index >= window[0].index) & (index <= window[-1].index))
        if len(rows) == 0:
            continue
        pictures = [window[index[row] - window[0].index].rgb for row in rows]
        crops = [
            _crop(rgb, person.crops_cxcys[row]) for rgb, row in zip(pictures, rows, strict=True)
        ]
        with Stage("v_cnn"):
            batch = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous().to(device)
            features = network.look(batch)
        with Stage("transformer"):
            network.move(features).cpu()
        with Stage("body"):
            vertices = _vertices(person, rows, body)
        for row, mesh in zip(rows, vertices, strict=True):
            by_frame[int(index[row])].append(mesh)
    return by_frame


def _crop(
    rgb: UInt8[np.ndarray, "height width 3"], crop_cxcys: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "side side 3"]:
    """A person's picture as ImageNet's networks take it."""
    with Stage("crop"):
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


def _draw(
    window: Sequence[Frame],
    bodies: dict[int, list[np.ndarray]],
    motion: VideoMotion,
    body: BodyModel,
    drawer: SceneAPerson,
    options: OverlayOptions,
    out_path: Path,
) -> None:
    """The frames beside themselves with bodies drawn over them, as a video."""
    faces = body.faces.numpy()
    size = panel_size(motion.video.width_px, motion.video.height_px, options)
    with VideoWriter(out_path, frame_rate=motion.video.frame_rate) as writer:
        for frame in window:
            with Stage("draw"):
                drawn = drawer.draw(frame.rgb, bodies[frame.index], faces, motion.camera)
                panels = [
                    cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
                    for picture in (frame.rgb, drawn)
                ]
                composed = np.concatenate(panels, axis=1, dtype=np.uint8)
            writer.write(composed, pts=frame.pts, time_base=frame.time_base)
