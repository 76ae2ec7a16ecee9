"""The benchmark as tables for people."""

from collections.abc import Sequence

from rich.table import Table

from dtsvibe_cli.bench.growth import Growth, GrowthPoint, increase
from dtsvibe_cli.bench.measured import LABELS
from dtsvibe_cli.bench.network_path import NetworkPath
from dtsvibe_cli.bench.picture import label_of
from dtsvibe_cli.bench.report import BenchReport


def speed_table(report: BenchReport) -> Table:
    """End to end: one row a way, device and renderer."""
    table = _table(
        "End to end, video to overlay",
        "",
        *("frames/s", "ms/frame", "CPU ms/frame", "peak MiB", "dtsvibe is ... times as fast"),
    )
    for each in report.contestants:
        run = each.typical
        ratio = ""
        if each.way != "dtsvibe":
            ours = next(
                c
                for c in report.contestants
                if c.way == "dtsvibe" and c.typical.device == run.device
            )
            ratios = ours.ratios_to(each)
            ratio = f"{ours.ratio_to(each):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"
        table.add_row(
            label_of(run),
            f"{run.frames_per_second:.2f}",
            f"{run.ms_per_frame:.1f}",
            f"{run.cpu_ms_per_frame:.1f}",
            f"{each.peak_memory_mib:.0f}",
            ratio,
        )
    return table


def stage_table(report: BenchReport) -> Table:
    """Milliseconds a frame of every stage: one column a way, device and renderer."""
    runs = [each.typical for each in report.contestants]
    table = _table("Stages, milliseconds a frame", "", *map(label_of, runs))
    for stage in runs[0].stages:
        times = [run.stage_ms(stage) for run in runs]
        if any(times):
            table.add_row(
                LABELS.get(stage, stage), *(f"{time:.2f}" if time else "" for time in times)
            )
    return table


def network_table(paths: Sequence[NetworkPath]) -> Table:
    """The network path alone: one row a device."""
    table = _table(
        "Network path alone: from crops, people known, to SMPL parameters",
        "",
        *("people/frame", "frames/s", "GPU MiB", "GPU busy", "most time in"),
        *("10⁹ multiply-adds/frame", "MB/frame"),
    )
    for path in paths:
        memory, busy = path.peak_device_memory_mib, path.utilisation_percent
        table.add_row(
            path.device,
            f"{path.people_per_frame:.1f}",
            f"{path.frames_per_second:.0f}",
            "" if memory is None else f"{memory:.0f}",
            "" if busy is None else f"{busy:.0f} %",
            f"{LABELS.get(path.bottleneck, path.bottleneck)} {path.stages[path.bottleneck]:.0%}",
            f"{path.cost_a_frame.multiply_adds / 1e9:.2f}",
            f"{path.cost_a_frame.bytes_moved / 1e6:.0f}",
        )
    return table


def growth_table(growth: Growth, points: Sequence[GrowthPoint]) -> Table:
    """One row a value, and the last relative to the first."""
    unit = " (s)" if growth.kind == "length" else ""
    table = _table(
        f"Growth with {growth.kind}",
        f"{growth.kind}{unit}",
        *("frames", "people", "seconds", "frames/s", "ms/frame", "CPU ms/frame", "peak MiB"),
    )
    for point in points:
        run = point.run
        table.add_row(
            point.value,
            str(run.num_frames),
            f"{run.people_per_frame:.1f}",
            f"{run.seconds:.1f}",
            f"{run.frames_per_second:.2f}",
            f"{run.ms_per_frame:.1f}",
            f"{run.cpu_ms_per_frame:.1f}",
            f"{run.peak_memory_mib:.0f}",
        )
    time, memory = increase(points)
    table.add_row("last / first", "", "", "", "", f"x {time:.2f}", "", f"x {memory:.2f}")
    return table


def notes(report: BenchReport) -> list[str]:
    """What has to be known to read the tables."""
    main, machine = report.main, report.machine
    told = [
        f"Clip: {report.clip}, {main.num_frames} frames of {report.video.width_px}x"
        f"{report.video.height_px}, {main.people_per_frame:.1f} people a frame. "
        f"{machine['cores']} cores, torch {machine['torch']}."
    ]
    references = [each.typical for each in report.contestants if each.way != "dtsvibe"]
    if references:
        told.append(
            f"The references worked on {references[0].num_frames} frames a round, with "
            f"{references[0].people_per_frame:.1f} people a frame and "
            f"{machine['reference_threads']} threads, loaded and warm; their time a frame stands "
            "for the whole clip. dtsvibe's contains loading. In their columns V-CNN is ResNet-50, "
            "and transformer the GRU with its regressor."
        )
    told.append(
        "The network path's multiply-adds and bytes are counted, not measured: convolutions and "
        "matrix products, and what operations read and write when nothing is fused or cached. "
        "OpenCV's flow (CPU) and the cutting of crops are not in them."
    )
    if sum(main.stages.values()) > 1.001 * main.seconds:
        told.append("Stages overlap in threads: their sum is more than the time that passed.")
    return [*told, *(f"Not measured: {reason}." for reason in report.unmeasured)]


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right")
    return table
