"""``dtsvibe run``: from a video to motion files and an overlay."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dtsvibe_cli.cli._console import print_json, progress_bars
from dtsvibe_cli.cli._errors import report_errors
from dtsvibe_cli.cli._options import ESTIMATE, OUTPUT, RENDER, options

if TYPE_CHECKING:
    from dtsvibe_cli.pipeline import RunResult


@click.command()
@click.argument("source", metavar="VIDEO")
@click.option(
    "--out",
    "-o",
    type=click.Path(path_type=Path, file_okay=False),
    default="out",
    show_default=True,
    metavar="DIR",
    help="Folder for the results; made when needed.",
)
@click.option(
    "--render/--no-render", default=True, show_default=True, help="Make the video to watch."
)
@click.option("--verts", is_flag=True, help="Put all mesh points into the .pkl too. Large.")
@options(ESTIMATE, RENDER, OUTPUT)
@report_errors
def run(*, source: str, out: Path, as_json: bool, quiet: bool, **keywords: Any) -> None:
    """Find the people in VIDEO and how they move, and draw bodies over them.

    \b
    dtsvibe run dance.mp4                           results in the folder out
    dtsvibe run dance.mp4 --start 10 --end 15       five seconds of it
    dtsvibe run dance.mp4 --view side --ids         also seen from the side, with numbers
    dtsvibe run frames/ --frame-rate 25             a folder of pictures
    dtsvibe run webcam:0 --end 10                   ten seconds of the first camera

    VIDEO is a video file, a folder of images, or webcam:N. For dance.mp4 it writes:

    \b
    dance_overlay.mp4   the video beside itself with bodies drawn on it
    dance_smpl.npz      how everybody moves: joint rotations, positions in metres and in pixels
    dance_smpl.pkl      the same in the layout of VIBE, for programs that read that
    dance_report.json   times, who was followed and who was not, versions

    The body is SMPL, the usual one of this field: 24 joints, 10 numbers for the figure, and a mesh.
    The paths written go to stdout, everything else to stderr. A video without people is no error.
    """  # noqa: D301
    from dtsvibe_cli import pipeline

    with progress_bars(quiet=quiet) as on_progress:
        result = pipeline.run(source, out, on_progress=on_progress, **keywords)
    if not result.motion.people:
        click.echo(f"Nobody was found in {source}; the report says what was looked at.", err=True)
    if as_json:
        print_json(_summary(result))
    else:
        for path in result.written:
            click.echo(path)


def _summary(result: "RunResult") -> dict[str, Any]:
    return {
        "written": list(result.written),
        "people": [
            {
                "track_id": person.track.track_id,
                "first_frame": int(person.track.frame_index[0]),
                "last_frame": int(person.track.frame_index[-1]),
                "num_frames": len(person.track.frame_index),
            }
            for person in result.motion.people
        ],
        "report": asdict(result.report),
    }
