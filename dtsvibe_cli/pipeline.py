"""From a video to motion, files and an overlay: the stages put together, no maths of its own."""

import json
import logging
import platform
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dtsvibe_cli import __version__
from dtsvibe_cli.datatypes import Frame, Observations, VideoInfo, VideoMotion
from dtsvibe_cli.errors import ConfigError, VideoError
from dtsvibe_cli.geometry.cameras import choose_camera
from dtsvibe_cli.models.blazepose import load_blazepose
from dtsvibe_cli.models.checkpoint import built_in_name, load_network
from dtsvibe_cli.results import ResultPaths, atomic_path, save_results, save_vibe_pickle
from dtsvibe_cli.smpl import BodyModel
from dtsvibe_cli.smpl_files import load_body_model
from dtsvibe_cli.stages.detection import Detector, make_detector
from dtsvibe_cli.stages.flow import FlowEstimator, make_flow
from dtsvibe_cli.stages.following import follow_people
from dtsvibe_cli.stages.motion import MadeMotion, MotionSettings, make_motion
from dtsvibe_cli.stages.observation import Observer, join
from dtsvibe_cli.stages.overlay import OverlayOptions, draw_video
from dtsvibe_cli.stages.rendering import make_renderer
from dtsvibe_cli.stages.stitching_tracks import StitchedTracks, stitch_tracks
from dtsvibe_cli.stages.tracking import Tracker, make_tracker
from dtsvibe_cli.timing import Stopwatch
from dtsvibe_cli.video import probe, read_frames, record_webcam
from dtsvibe_cli.weights import files_of, sha256_of

_LOG = logging.getLogger(__name__)

OnProgress = Callable[[str, int, int | None], None]
"""Takes the stage, how many of its items are done, and of how many (None when nobody knows)."""


@dataclass(frozen=True, kw_only=True)
class PersonReport:
    """What happened to one person."""

    track_id: int
    frames: tuple[int, int]
    num_frames: int
    num_filled_frames: int
    """Frames in which the person was not seen and the motion was made up."""
    swapped_landmarks: int
    """Frames in which the pose network had left and right confused, mended."""
    swapped_keypoints: int
    """Frames in which the detector had."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """How a run went: plain values, ready for JSON."""

    num_frames: int
    people: tuple[PersonReport, ...]
    tracks: tuple[dict[str, Any], ...]
    """Every track that was kept, dropped, merged or filled, and why."""
    seconds: dict[str, float]
    """Time of each stage; stages may contain others."""
    versions: dict[str, str]
    renderer: str | None = None


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What :func:`run` made."""

    motion: VideoMotion
    report: Report
    written: tuple[Path, ...]


def estimate_video(
    source: str | Path,
    *,
    detector: str | Detector = "movenet",
    detect_every: int = 4,
    tracker: str | Tracker = "bytetrack",
    flow: str | FlowEstimator = "auto",
    weights: str | Path = "lite",
    body_model: Path | None = None,
    window_stride: int = 8,
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
        detect_every: Frames from one detection to the next; people are followed in between.
        tracker: ``bytetrack``, ``botsort``, or a tracker of your own.
        flow: ``auto``, ``dis``, the path of torchvision's RAFT weights, or an estimator of your own.
        weights: Built-in network by name, or the path of a .safetensors file.
        body_model: Official SMPL file (.pkl or .npz); None for the built-in free body.
        window_stride: Frames from one 16-frame window to the next, 1 to 16.
        focal: Focal length as ``1200px`` or ``35mm``; None to take it from the file, else a usual one.
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
    progress = on_progress or _silent
    watch = Stopwatch()
    chosen = choose_device(device)
    with watch("load"):
        video = probe(source, frame_rate=frame_rate)
        camera = choose_camera(video, focal)
        network = load_network(weights, chosen)
        body = load_body_model(body_model)
        looks_per_second = float(video.frame_rate) / detect_every
        find_people = (
            make_detector(detector, device=chosen) if isinstance(detector, str) else detector
        )
        follow = (
            make_tracker(tracker, looks_per_second=looks_per_second)
            if isinstance(tracker, str)
            else tracker
        )
        measure_flow = make_flow(flow, chosen) if isinstance(flow, str) else flow
        observer = Observer(
            load_blazepose(chosen),
            watch.timed("flow", measure_flow),
            flow_side=network.config.flow_side,
            device=chosen,
        )
    frames = watch.timed_iterator(
        "decode", read_frames(source, start_s=start_s, end_s=end_s, frame_rate=frame_rate)
    )
    first = _First(frames)
    followed = follow_people(
        first, watch.timed("detect", find_people), follow, detect_every=detect_every
    )
    total = _expected_frames(video, start_s, end_s)
    times: list[float] = []
    with watch("observe"):
        for time_s in observer.watch(followed):
            times.append(time_s)
            progress("look", len(times), total)
    if not times:
        raise VideoError(f"{source} has no frames between {start_s or 0:g} s and {end_s:g} s.")
    tracks = observer.tracks()
    stitched = _who_is_who(tracks, times, first.index, max_people)
    people = [
        join([tracks[old].observations for old in group], number)
        for number, group in enumerate(stitched.groups, start=1)
    ]
    if track_id is not None:
        people = _only(people, track_id)
    settings = MotionSettings(window_stride=window_stride, refine=refine, smooth_s=smooth_s)
    made: list[MadeMotion] = []
    with watch("motion"):
        for seen in people:
            progress("move", len(made), len(people))
            made.append(make_motion(seen, network, body, camera, settings))
        progress("move", len(made), len(people))
    motion = VideoMotion(
        video=video,
        camera=camera,
        people=tuple(each.person for each in made),
        time_s=np.array(times),
        first_frame=first.index,
        meta=_meta(weights, body, settings),
    )
    return motion, _report(made, stitched, len(times), watch)


def render_video(
    motion: VideoMotion,
    out_path: Path,
    *,
    body_model: Path | None = None,
    renderer: str = "auto",
    layout: str = "side-by-side",
    view: str | None = None,
    opacity: float = 1.0,
    wireframe: bool = False,
    show_ids: bool = False,
    max_width_px: int = 1920,
    source: Path | None = None,
    on_progress: OnProgress | None = None,
) -> Path:
    """Draw the bodies of a result over its video.

    Args:
        motion: The result.
        out_path: The .mp4 to write.
        body_model: The body model that the result was made with; None for the built-in one.
        renderer: ``auto``, ``egl``, ``numba`` or ``numpy``.
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
    progress = on_progress or _silent
    body = load_body_model(body_model)
    if layout not in ("side-by-side", "stacked", "overlay"):
        raise ConfigError(f"There is no layout '{layout}': side-by-side, stacked or overlay.")
    if renderer not in ("auto", "egl", "numba", "numpy"):
        raise ConfigError(f"There is no renderer '{renderer}': auto, egl, numba or numpy.")
    options = OverlayOptions(
        layout=layout,
        view=view,
        opacity=opacity,
        wireframe=wireframe,
        show_ids=show_ids,
        max_width_px=max_width_px,
    )
    drawer = make_renderer(renderer)
    total = len(motion.time_s)
    try:
        draw_video(
            motion,
            body,
            out_path,
            options=options,
            renderer=drawer,
            source=source,
            on_frame=lambda done: progress("draw", done, total),
        )
    finally:
        drawer.close()
    return out_path


def run(
    source: str | Path,
    out: Path,
    *,
    render: bool = True,
    verts: bool = False,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
    renderer: str = "auto",
    layout: str = "side-by-side",
    view: str | None = None,
    opacity: float = 1.0,
    wireframe: bool = False,
    show_ids: bool = False,
    max_width_px: int = 1920,
    body_model: Path | None = None,
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
        body_model: Official SMPL file; None for the built-in free body.
        end_s: Leave out what comes after; for a webcam how long to record, seconds.
        **estimate: The other keywords of :func:`estimate_video`.

    Raises:
        DtsVibeError: Whatever a user can mend; then nothing is left half-written.
    """
    paths = ResultPaths.of(out, source)
    wanted = [paths.motion, paths.vibe, paths.report, *([paths.overlay] if render else [])]
    there = [path for path in wanted if path.exists()]
    if there and not overwrite:
        raise ConfigError(f"{there[0]} exists: give --overwrite to replace it, or another --out.")
    made_folder = _writable_folder(out)
    try:
        if str(source).startswith("webcam:"):
            source = _record(str(source), paths.motion.parent, end_s)
        motion, report = estimate_video(
            source, body_model=body_model, end_s=end_s, on_progress=on_progress, **estimate
        )
        written: list[Path] = []
        if render and motion.people:
            watch = Stopwatch()
            with watch("render"):
                render_video(
                    motion,
                    paths.overlay,
                    body_model=body_model,
                    renderer=renderer,
                    layout=layout,
                    view=view,
                    opacity=opacity,
                    wireframe=wireframe,
                    show_ids=show_ids,
                    max_width_px=max_width_px,
                    on_progress=on_progress,
                )
            written.append(paths.overlay)
            report.seconds.update(watch.seconds)
        body = load_body_model(body_model)
        save_results(motion, paths.motion)
        save_vibe_pickle(motion, paths.vibe, vertices=_vertices_of(body) if verts else None)
        with atomic_path(paths.report) as part:
            part.write_text(json.dumps(asdict(report), indent=1, default=str) + "\n")
    except BaseException:
        if made_folder and not any(out.iterdir()):
            out.rmdir()
        raise
    written += [paths.motion, paths.vibe, paths.report]
    return RunResult(motion=motion, report=report, written=tuple(written))


def choose_device(name: str) -> str:
    """``auto`` is CUDA, else Apple's MPS, else the CPU.

    Raises:
        ConfigError: The machine has no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"This machine has no device '{name}': try --device cpu.") from error
    return name


class _First:
    """Passes frames on and remembers the first one's index."""

    def __init__(self, frames: Iterator[Frame]) -> None:
        self._frames = frames
        self.index = 0

    def __iter__(self) -> Iterator[Frame]:
        for number, frame in enumerate(self._frames):
            if number == 0:
                self.index = frame.index
            yield frame


def _silent(stage: str, done: int, total: int | None) -> None:
    """Show nothing."""


def _expected_frames(video: VideoInfo, start_s: float | None, end_s: float | None) -> int | None:
    if video.num_frames is None:
        return None
    rate = float(video.frame_rate)
    end = video.num_frames if end_s is None else min(video.num_frames, round(end_s * rate))
    return max(1, end - round((start_s or 0) * rate))


def _who_is_who(
    tracks: dict[int, Any], times: list[float], first: int, max_people: int | None
) -> StitchedTracks:
    """Join fragments, drop glimpses; in a very short video even a glimpse counts."""
    return stitch_tracks(
        [seen.observations.track for seen in tracks.values()],
        times_s={first + k: time_s for k, time_s in enumerate(times)},
        appearance={k: seen.colours for k, seen in tracks.items() if seen.colours is not None},
        min_frames=1 if len(times) < 16 else None,
        max_people=max_people,
    )


def _only(people: list[Observations], track_id: int) -> list[Observations]:
    chosen = [seen for seen in people if seen.track.track_id == track_id]
    if not chosen:
        known = ", ".join(str(seen.track.track_id) for seen in people) or "nobody"
        raise ConfigError(f"There is no person {track_id}; found: {known}.")
    return chosen


def _meta(weights: str | Path, body: BodyModel, settings: MotionSettings) -> dict[str, Any]:
    files = files_of(built_in_name(weights))
    return {
        "software": f"dtsvibe {__version__}",
        "weights": {"name": str(weights), "sha256": [sha256_of(path) for path in files]},
        "body_model": {"name": body.name, "sha256": body.sha256, "licence": body.licence},
        "settings": asdict(settings),
    }


def _report(
    made: list[MadeMotion], stitched: StitchedTracks, num_frames: int, watch: Stopwatch
) -> Report:
    people = tuple(
        PersonReport(
            track_id=each.person.track.track_id,
            frames=(
                int(each.person.track.frame_index[0]),
                int(each.person.track.frame_index[-1]),
            ),
            num_frames=len(each.person.track.frame_index),
            num_filled_frames=int((~each.person.observed).sum()),
            swapped_landmarks=each.swapped_landmarks,
            swapped_keypoints=each.swapped_keypoints,
        )
        for each in made
    )
    return Report(
        num_frames=num_frames,
        people=people,
        tracks=tuple(asdict(decision) for decision in stitched.decisions),
        seconds=watch.seconds,
        versions={
            "dtsvibe": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    )


def _writable_folder(out: Path) -> bool:
    """Make the folder when needed and try it before any work is done; True when it was made."""
    new = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"Cannot write to {out}: {reason}. Choose another --out.") from error
    return new


def _record(source: str, folder: Path, seconds: float | None) -> Path:
    number = source.removeprefix("webcam:")
    if not number.isdigit():
        raise ConfigError(f"'{source}' names no camera: the first one is webcam:0.")
    _LOG.info("Recording from camera %s; Ctrl-C ends it.", number)
    return record_webcam(int(number), folder / f"webcam_{number}.mp4", seconds=seconds)


def _vertices_of(body: BodyModel) -> Callable[[Any], np.ndarray]:
    def vertices(smpl: Any) -> np.ndarray:
        pose = np.concatenate([smpl.global_orient[:, None], smpl.body_pose], axis=1)
        parts = []
        for rows in np.array_split(np.arange(len(pose)), max(1, len(pose) // 64)):
            parts.append(
                body.vertices(
                    torch.from_numpy(pose[rows]).float(),
                    torch.from_numpy(np.ascontiguousarray(smpl.betas[rows])).float(),
                    torch.from_numpy(smpl.transl[rows]).float(),
                ).numpy()
            )
        return np.concatenate(parts)

    return vertices
