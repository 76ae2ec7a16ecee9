"""From a video to motion, files and an overlay: the stages put together, no maths of its own."""

import json
import logging
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import torch

from dtsvibe_cli.allocation import give_freed_memory_back, tune_allocator
from dtsvibe_cli.datatypes import VideoInfo, VideoMotion
from dtsvibe_cli.devices import choose_device
from dtsvibe_cli.errors import ConfigError
from dtsvibe_cli.geometry.cameras import choose_camera
from dtsvibe_cli.models.blazepose import load_blazepose
from dtsvibe_cli.models.checkpoint import load_network
from dtsvibe_cli.progress import OnProgress, silent
from dtsvibe_cli.report import Report, make_meta, make_report
from dtsvibe_cli.results import atomic_path, save_results, save_vibe_pickle
from dtsvibe_cli.run_folder import (
    folder_to_write,
    free_paths,
    is_webcam,
    record_to,
    remove_of_earlier_run,
)
from dtsvibe_cli.smpl import BodyModel, vertices_of
from dtsvibe_cli.smpl_files import check_made_with, load_body_model
from dtsvibe_cli.stages.detection import Detector, make_detector
from dtsvibe_cli.stages.estimation import MotionModel
from dtsvibe_cli.stages.flow import FlowEstimator, make_flow
from dtsvibe_cli.stages.following import FollowedFrame, follow_people
from dtsvibe_cli.stages.identities import people_of, who_is_who
from dtsvibe_cli.stages.motion import MadeMotion, MotionSettings, make_motions
from dtsvibe_cli.stages.observation import Observer
from dtsvibe_cli.stages.overlay import Layout, OverlayOptions, draw_video
from dtsvibe_cli.stages.rendering import Renderer, check_renderer, opened_renderer, opening_renderer
from dtsvibe_cli.stages.rendering.views import view_rotation
from dtsvibe_cli.stages.tracking import Tracker, make_tracker
from dtsvibe_cli.stages.windows import choose_stride
from dtsvibe_cli.streaming import Stages, shared_cores
from dtsvibe_cli.timing import Stopwatch, added
from dtsvibe_cli.video import probe, read_frames

_LOG = logging.getLogger(__name__)

_BUSY_THREADS = 2
"""Threads of the first pass that compute without pause: detection and observation."""


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What :func:`run` made."""

    motion: VideoMotion
    report: Report
    written: tuple[Path, ...]
    """The overlay when one was drawn, then the other files."""


def estimate_video(
    source: str | Path,
    *,
    detector: str | Detector = "movenet",
    allow_download: bool = False,
    detect_every: int = 4,
    tracker: str | Tracker = "bytetrack",
    flow: str | FlowEstimator = "auto",
    weights: str | Path | MotionModel = "lite",
    body_model: str | Path | BodyModel | None = None,
    window_stride: int | None = None,
    focal: str | None = None,
    refine: bool = True,
    smooth_s: float = 0.05,
    device: str = "auto",
    start_s: float | None = None,
    end_s: float | None = None,
    max_people: int | None = None,
    track_id: int | None = None,
    frame_rate: Fraction | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[VideoMotion, Report]:
    """Find the people in a video and how they move.

    Args:
        source: A video file or a folder of images.
        detector: ``movenet``, an ultralytics model by name or file, or a detector of your own.
        allow_download: Whether ultralytics may fetch the detector's weights when they are not here;
            nothing else is ever downloaded.
        detect_every: Frames from one detection to the next; people are followed in between.
        tracker: ``bytetrack``, ``botsort``, or a tracker of your own.
        flow: ``dis``, ``torch``, ``auto`` (``torch`` on CUDA, else ``dis``), the path of RAFT's
            weights, or an estimator of your own.
        weights: Built-in network by name, the path of a .safetensors file, or a model of your own.
        body_model: Official SMPL file (.pkl or .npz), or a body that is loaded already; None for
            the built-in free body.
        window_stride: Frames from one of the network's windows to the next; None: half a window.
        focal: Focal length as ``1200px`` or ``35mm``; None for the file's own, else a usual one.
        refine: Fit the network's answer to the picture.
        smooth_s: Deviation of the final filter over time, seconds; 0 for none.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        start_s: Leave out what comes before, seconds.
        end_s: Leave out what comes after, seconds.
        max_people: Keep only the people who are seen largest and longest.
        track_id: Keep only this person.
        frame_rate: Of a folder of images, frames a second.
        on_progress: Called with the stage, items done, and items in all.

    Raises:
        DtsVibeError: Whatever a user can mend: the input, the weights, the body model, an option.
    """
    progress = on_progress or silent
    watch = Stopwatch()
    chosen = choose_device(device)
    with Stages() as stages, shared_cores(_BUSY_THREADS):
        with watch("load"):
            video = probe(source, frame_rate=frame_rate)
            camera = choose_camera(video, focal)
            frames = stages.ahead(
                watch.timed_iterator(
                    "decode",
                    read_frames(
                        source,
                        start_s=start_s,
                        end_s=end_s,
                        frame_rate=frame_rate,
                        device=chosen,
                    ),
                ),
                queue_size=2,
            )
            network = _load_motion_model(weights, chosen)
            stride = choose_stride(window_stride, network.window)
            body = _load_body(body_model)
            if isinstance(detector, str):
                detector = make_detector(detector, device=chosen, allow_download=allow_download)
            if isinstance(tracker, str):
                looks_per_second = float(video.frame_rate) / detect_every
                tracker = make_tracker(tracker, looks_per_second=looks_per_second)
            if isinstance(flow, str):
                flow = make_flow(flow, chosen)
            observer = Observer(
                load_blazepose(chosen),
                flow,
                picture_cnn=network.picture_cnn,
                flow_cnn=network.flow_cnn,
                device=chosen,
                watch=watch,
            )
        followed = stages.ahead(
            follow_people(frames, detector, tracker, detect_every=detect_every, watch=watch)
        )
        total = _expected_frames(video, start_s, end_s)
        with watch("observe"):
            time_s = _observe(followed, observer, lambda done: progress("look", done, total))
    tracks = observer.tracks()
    stitched = who_is_who(tracks, time_s, max_people)
    people = people_of(tracks, stitched, track_id)
    num_people = len(people)
    if camera.source == "default":
        _LOG.info(
            "Nothing says the focal length: %.0f px is assumed, a usual lens. Distances scale "
            "with it; --focal sets it.",
            camera.focal_length_px,
        )
    settings = MotionSettings(window_stride=stride, refine=refine, smooth_s=smooth_s)
    made: list[MadeMotion] = []
    progress("move", 0, num_people)
    making = make_motions(people, network, body, camera, settings, chosen, watch)
    # not needed beside what is made of it
    del tracks, observer, people, detector, tracker, flow, frames, followed
    give_freed_memory_back()
    with watch("motion"):
        for each in making:
            made.append(each)
            progress("move", len(made), num_people)
    motion = VideoMotion(
        video=video,
        camera=camera,
        people=tuple(each.person for each in made),
        time_s=np.array(list(time_s.values())),
        first_frame=min(time_s),
        meta=make_meta(weights, body, settings),
    )
    return motion, make_report(made, stitched, num_frames=len(time_s), seconds=watch.seconds)


def render_video(
    motion: VideoMotion,
    out_path: str | Path,
    *,
    body_model: str | Path | BodyModel | None = None,
    renderer: str | Renderer = "auto",
    layout: str = "side-by-side",
    view: str | None = None,
    opacity: float = 1.0,
    wireframe: bool = False,
    show_ids: bool = False,
    max_width_px: int = 1920,
    source: str | Path | None = None,
    on_progress: OnProgress | None = None,
) -> Path:
    """Draw the bodies of a result over its video.

    Args:
        motion: The result.
        out_path: The .mp4 to write.
        body_model: The body model that the result was made with, as its file or loaded; None for
            the built-in one.
        renderer: ``auto``, ``egl``, ``numba`` or ``numpy``, or a renderer of your own.
        layout: ``side-by-side``, ``stacked`` or ``overlay``.
        view: Another view beside it: ``side``, ``top`` or ``around:DEGREES``.
        opacity: How solid the bodies are, 0 to 1.
        wireframe: Draw edges only.
        show_ids: Write each person's number over the head.
        max_width_px: Shrink wider videos.
        source: The input video, when it is no longer where the result says.
        on_progress: Called with the stage, frames done, and frames in all.

    Raises:
        DtsVibeError: The source or the target, the renderer or an option.
    """
    out_path, source = Path(out_path), Path(source or motion.video.path)
    if out_path.resolve() == source.resolve():
        raise ConfigError(f"{out_path} is the input video itself: give another file to write.")
    options = _overlay_options(
        layout=layout,
        view=view,
        opacity=opacity,
        wireframe=wireframe,
        show_ids=show_ids,
        max_width_px=max_width_px,
    )
    body = _load_body(body_model)
    check_made_with(body, motion.meta, "The result")
    progress = on_progress or silent
    with opened_renderer(renderer) as drawer:
        draw_video(
            motion,
            body,
            out_path,
            options=options,
            renderer=drawer,
            source=source,
            on_frame=lambda done: progress("draw", done, len(motion.time_s)),
        )
    return out_path


def run(
    source: str | Path,
    out: str | Path,
    *,
    render: bool = True,
    verts: bool = False,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
    renderer: str | Renderer = "auto",
    layout: str = "side-by-side",
    view: str | None = None,
    opacity: float = 1.0,
    wireframe: bool = False,
    show_ids: bool = False,
    max_width_px: int = 1920,
    body_model: str | Path | BodyModel | None = None,
    device: str = "auto",
    end_s: float | None = None,
    **estimate: Any,
) -> RunResult:
    """Do it all: motion, the overlay, and the files that ``dtsvibe run`` writes.

    Args:
        source: A video file, a folder of images, or ``webcam:N``.
        out: Folder for the results; made when needed.
        render: Make the overlay video too.
        verts: Put all mesh points into the pickle.
        overwrite: Replace files of an earlier run.
        on_progress: Called with the stage, items done, and items in all.
        renderer: See :func:`render_video`, as for the others up to ``max_width_px``.
        layout: Where the pictures go.
        view: Another view.
        opacity: How solid the bodies are.
        wireframe: Draw edges only.
        show_ids: Write numbers over heads.
        max_width_px: Shrink wider videos.
        body_model: Official SMPL file, or a loaded body; None for the built-in free body.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        end_s: Leave out what comes after; for a webcam how long to record, seconds.
        **estimate: The other keywords of :func:`estimate_video`.

    Raises:
        DtsVibeError: Whatever a user can mend; then nothing is left half-written.
    """
    out = Path(out)
    # a mistake in how it shall look is told before the work, not after it
    options = _overlay_options(
        layout=layout,
        view=view,
        opacity=opacity,
        wireframe=wireframe,
        show_ids=show_ids,
        max_width_px=max_width_px,
    )
    check_renderer(renderer)
    tune_allocator()
    progress = on_progress or silent
    with folder_to_write(out), ExitStack() as stack:
        paths = free_paths(out, source, overwrite=overwrite)
        if is_webcam(source):
            source = record_to(out, str(source), end_s)
        body = _load_body(body_model)
        drawer = stack.enter_context(opening_renderer(renderer)) if render else None
        motion, report = estimate_video(
            source,
            body_model=body,
            device=device,
            end_s=end_s,
            on_progress=on_progress,
            **estimate,
        )
        written = [paths.motion, paths.vibe, paths.report]
        remove_of_earlier_run(paths)
        save_results(motion, paths.motion)
        chosen = choose_device(device)
        mesher = body.to(chosen) if chosen.startswith("cuda") else body
        vertices = partial(vertices_of, mesher) if verts else None
        save_vibe_pickle(motion, paths.vibe, vertices=vertices)
        give_freed_memory_back()  # drawing needs other things than finding
        if drawer is not None and motion.people:
            watch = Stopwatch()
            with watch("render"):
                opened = drawer()
                draw_video(
                    motion,
                    mesher,
                    paths.overlay,
                    options=options,
                    renderer=opened,
                    device=chosen,
                    on_frame=lambda done: progress("draw", done, len(motion.time_s)),
                    watch=watch,
                )
            written.insert(0, paths.overlay)
            seconds = added(report.seconds, watch.seconds)
            report = replace(report, seconds=seconds, renderer=opened.name)
        with atomic_path(paths.report) as part:
            part.write_text(json.dumps(asdict(report), indent=1, default=str) + "\n")
    return RunResult(motion=motion, report=report, written=tuple(written))


def _load_motion_model(weights: str | Path | MotionModel, device: str) -> MotionModel:
    """A network by name or file; somebody's own is taken as it is, a torch module made ready."""
    if isinstance(weights, str | Path):
        return load_network(weights, device)
    if isinstance(weights, torch.nn.Module):
        weights.eval().to(device)
    return weights


def _load_body(body_model: str | Path | BodyModel | None) -> BodyModel:
    if isinstance(body_model, BodyModel):
        return body_model
    return load_body_model(None if body_model is None else Path(body_model))


def _expected_frames(video: VideoInfo, start_s: float | None, end_s: float | None) -> int | None:
    if video.num_frames is None:
        return None
    rate = float(video.frame_rate)
    end = video.num_frames if end_s is None else min(video.num_frames, round(end_s * rate))
    return max(1, end - round((start_s or 0) * rate))


def _observe(
    followed: Iterable[FollowedFrame], observer: Observer, on_frame: Callable[[int], None]
) -> dict[int, float]:
    """The pass over the video; gives the time of each frame by its index, seconds."""
    time_s: dict[int, float] = {}
    for frame in followed:
        observer.look(frame)
        time_s[frame.frame.index] = frame.frame.time_s
        on_frame(len(time_s))
    return time_s


def _overlay_options(*, layout: str, view: str | None, **others: Any) -> OverlayOptions:
    """The options, checked."""
    if layout not in get_args(Layout):
        raise ConfigError(f"There is no layout '{layout}': side-by-side, stacked or overlay.")
    if view is not None:
        view_rotation(view)
    return OverlayOptions(layout=cast(Layout, layout), view=view, **others)
