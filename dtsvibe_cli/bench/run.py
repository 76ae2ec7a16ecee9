"""The whole benchmark: clip, comparison, growth, picture."""

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dtsvibe_cli.bench.clip import ClipSpec, make_bench_clip
from dtsvibe_cli.bench.comparison import compare
from dtsvibe_cli.bench.growth import check_growth, measure_growth, parse_growth
from dtsvibe_cli.bench.network_path import NetworkPath, measure_network_path
from dtsvibe_cli.bench.picture import check_picture, draw_picture
from dtsvibe_cli.bench.reference_networks import ReferenceName
from dtsvibe_cli.bench.report import (
    BenchReport,
    about_machine,
    missing_devices,
    present_devices,
    present_renderers,
)
from dtsvibe_cli.bench.worker import Worker
from dtsvibe_cli.datatypes import VideoInfo
from dtsvibe_cli.devices import choose_device
from dtsvibe_cli.errors import VideoError
from dtsvibe_cli.stages.rendering import check_renderer
from dtsvibe_cli.video import probe

_LOG = logging.getLogger(__name__)


def bench(
    source: Path | ClipSpec,
    *,
    device: str = "all",
    renderer: str = "all",
    references: Sequence[ReferenceName] = ("vibe", "nano"),
    reference_frames: int = 8,
    rounds: int = 3,
    growth: Sequence[str] = (),
    max_width_px: int = 1920,
    threads: int | None = None,
    picture: Path | None = None,
) -> BenchReport:
    """Time dtsvibe and the reference pipelines on one clip.

    Args:
        source: A video file, or what to generate.
        device: ``all``, or one as :func:`~dtsvibe_cli.estimate_video` takes it.
        renderer: ``all``, or one as :func:`~dtsvibe_cli.render_video` takes it.
        references: ``vibe`` and ``nano``, or fewer.
        reference_frames: Frames of the clip that the references work on in each round; their time
            a frame is taken for the whole clip's.
        rounds: How often everything runs, in turns.
        growth: What to vary besides; see :func:`~dtsvibe_cli.bench.growth.parse_growth`.
        max_width_px: Width of the written videos at most.
        threads: CPU threads of torch; None for dtsvibe's own choice, and for the references all
            that there are.
        picture: Draw bars into this file.

    Raises:
        DtsVibeError: The clip, an option, or what a run raises.
    """
    if isinstance(source, Path):
        _check_given(source)
    varied = [parse_growth(text) for text in growth]
    for each in varied:
        check_growth(each, source)
    if picture is not None:
        check_picture(picture)
    devices = present_devices() if device == "all" else [choose_device(device)]
    if renderer != "all":
        check_renderer(renderer)
    renderers = present_renderers() if renderer == "all" else [renderer]
    same: dict[str, Any] = {"max_width_px": max_width_px, "threads": threads}
    with tempfile.TemporaryDirectory(prefix="dtsvibe-bench-") as folder:
        clip, video = _clip(source, Path(folder))
        contestants = compare(
            clip,
            Path(folder),
            devices=devices,
            renderers=renderers,
            references=references,
            reference_frames=reference_frames,
            rounds=rounds,
            **same,
        )
        network_paths = [_network_path(clip, each, threads) for each in devices]
    first: dict[str, Any] = {"device": devices[0], "renderer": renderers[0], **same}
    points = [tuple(measure_growth(each, source, **first)) for each in varied]
    report = BenchReport(
        clip=str(source),
        video=video,
        contestants=tuple(contestants),
        network_paths=tuple(network_paths),
        growth=tuple(zip(varied, points, strict=True)),
        machine=about_machine(threads),
        unmeasured=tuple(missing_devices()),
    )
    if picture is not None:
        draw_picture(report, picture)
    return report


def _network_path(clip: Path, device: str, threads: int | None) -> NetworkPath:
    """The network path on a device, in a process of its own."""
    with Worker() as worker:
        return worker.run(measure_network_path, clip, device=device, threads=threads)


def _clip(source: Path | ClipSpec, folder: Path) -> tuple[Path, VideoInfo]:
    """The clip and what it is; made when it has to be."""
    if isinstance(source, ClipSpec):
        _LOG.info(
            "Making the clip: %s, %dx%d, %g s",
            source, source.width_px, source.height_px, source.seconds,
        )  # fmt: skip
        clip = make_bench_clip(source, folder / "clip.mp4")
        return clip, probe(clip)
    return source, probe(source)


def _check_given(source: Path) -> None:
    """Refuse what is no video file, before anything else."""
    if source.is_dir():
        raise VideoError(f"{source} is a folder; the benchmark needs a video file.")
    probe(source)
