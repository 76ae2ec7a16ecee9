"""Options of the commands, each named and defaulted as the keyword it becomes in the Python API."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Final

import click

Command = Callable[..., None]

_FILE = click.Path(path_type=Path, dir_okay=False)


def _frame_rate(ctx: click.Context, param: click.Parameter, value: str | None) -> Fraction | None:
    """An exact rate: a float would make 30000/1001 another one."""
    if value is None:
        return None
    try:
        rate = Fraction(value)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if rate <= 0:
        raise click.BadParameter(f"{value!r} is no frame rate: give 25, 29.97 or 30000/1001.")
    return rate


def _frames(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...]:
    """Numbers with commas between them; none for the default."""
    try:
        return tuple(int(number) for number in (value or "").split(",") if value)
    except ValueError:
        raise click.BadParameter(
            f"{value!r} are no frames: give numbers such as 10,45,80."
        ) from None


body_model = click.option(
    "--body-model",
    type=_FILE,
    help="SMPL body model file (.pkl or .npz) to use instead of the free body that is built in.",
)

ESTIMATE: Final = (
    click.option(
        "--detector",
        default="movenet",
        show_default=True,
        metavar="NAME",
        help="What finds people: movenet (built in), or an ultralytics model by name or file, such"
        " as yolo11n.",
    ),
    click.option(
        "--allow-download",
        is_flag=True,
        help="Let ultralytics fetch the weights of its --detector when they are not here. Without"
        " it nothing is ever downloaded.",
    ),
    click.option(
        "--detect-every",
        type=click.IntRange(1, 60),
        default=4,
        show_default=True,
        metavar="FRAMES",
        help="Look for people in every n-th frame, follow them in between. 1 is the most careful;"
        " the frames up to the next look are held in memory.",
    ),
    click.option(
        "--tracker",
        type=click.Choice(["bytetrack", "botsort"]),
        default="bytetrack",
        show_default=True,
        help="What keeps people apart over time. botsort is slower and copes with a moving camera.",
    ),
    click.option(
        "--flow",
        default="auto",
        show_default=True,
        metavar="NAME|FILE",
        help="How image motion is measured: dis (OpenCV, on the CPU), torch (on --device), auto"
        " (torch on CUDA, else dis), or a file of RAFT weights (on --device).",
    ),
    click.option(
        "--weights",
        default="lite",
        show_default=True,
        metavar="NAME|FILE",
        help="Trained network: a built-in one (see `dtsvibe weights list`) or a .safetensors file.",
    ),
    body_model,
    click.option(
        "--window-stride",
        type=click.IntRange(min=1),
        show_default="half a window",
        metavar="FRAMES",
        help="The network sees so many frames at a time (lite: 16); start again after this many."
        " Less is smoother and slower.",
    ),
    click.option(
        "--focal",
        metavar="LENGTH",
        help="Focal length of the camera, as 1200px or 35mm (of a full-frame camera). Otherwise"
        " from the file, or a usual one.",
    ),
    click.option(
        "--refine/--no-refine",
        default=True,
        show_default=True,
        help="Fit the result to the picture afterwards. More exact, and slower.",
    ),
    click.option(
        "--smooth",
        "smooth_s",
        type=click.FloatRange(min=0),
        default=0.05,
        show_default=True,
        metavar="SECONDS",
        help="How far in time to smooth the motion. 0 leaves it as it is.",
    ),
    click.option(
        "--device",
        default="auto",
        show_default=True,
        metavar="NAME",
        help="Where to compute: auto, cpu, cuda, cuda:1 or mps.",
    ),
    click.option(
        "--start",
        "start_s",
        type=click.FloatRange(min=0),
        metavar="SECONDS",
        help="Leave out what comes before.",
    ),
    click.option(
        "--end",
        "end_s",
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        help="Leave out what comes after. For a webcam: how long to record.",
    ),
    click.option(
        "--max-people",
        type=click.IntRange(min=1),
        metavar="N",
        help="Keep only the n people who are seen largest and longest.",
    ),
    click.option(
        "--track-id",
        type=click.IntRange(min=1),
        metavar="ID",
        help="Keep only this person: a number from `people` in the report, or seen with --ids.",
    ),
    click.option(
        "--frame-rate",
        callback=_frame_rate,
        metavar="RATE",
        help="Frames a second of a folder of images, such as 25 or 30000/1001.",
    ),
)
"""Keywords of ``estimate_video``."""

RENDER: Final = (
    click.option(
        "--renderer",
        type=click.Choice(["auto", "egl", "numba", "numpy"]),
        default="auto",
        show_default=True,
        help="What draws: egl uses the graphics driver; numba and numpy need none.",
    ),
    click.option(
        "--layout",
        type=click.Choice(["side-by-side", "stacked", "overlay"]),
        default="side-by-side",
        show_default=True,
        help="Where the pictures go: beside the input, below it, or without it.",
    ),
    click.option(
        "--view",
        metavar="VIEW",
        help="Add a picture from elsewhere: side, top, or around:DEGREES towards the right.",
    ),
    click.option(
        "--opacity",
        type=click.FloatRange(0, 1),
        default=1.0,
        show_default=True,
        help="How solid the bodies are: 0 is invisible.",
    ),
    click.option("--wireframe", is_flag=True, help="Draw the edges of the bodies only."),
    click.option(
        "--ids", "show_ids", is_flag=True, help="Write each person's number over the head."
    ),
    click.option(
        "--max-width",
        "max_width_px",
        type=click.IntRange(min=64),
        default=1920,
        show_default=True,
        metavar="PIXELS",
        help="Shrink the video if it would be wider than this.",
    ),
)
"""Keywords of ``render_video``, ``body_model`` apart."""

OUTPUT: Final = (
    click.option("--overwrite", is_flag=True, help="Replace files of an earlier run."),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for programs."),
    click.option("--quiet", "-q", is_flag=True, help="Show warnings and errors only."),
)
"""How a command that writes files treats them and its user."""


RESULTS: Final = (
    click.option(
        "--frames",
        callback=_frames,
        metavar="LIST",
        help="Frames to show, counted from 0, such as 10,45,80.  [default: some, spread evenly]",
    ),
    click.option(
        "--label",
        "labels",
        multiple=True,
        metavar="TEXT",
        help="What the figure calls a result; once for each, in their order.  [default: its file"
        " or folder]",
    ),
    click.option(
        "--source",
        type=click.Path(path_type=Path),
        metavar="VIDEO",
        help="The input video, if it is no longer where it was.",
    ),
)
"""What a figure shows of several results."""

FIGURE: Final = (
    click.option(
        "--out",
        "-o",
        type=_FILE,
        required=True,
        metavar="FILE",
        help="The picture to write: .png, .pdf or .svg.",
    ),
    click.option("--overwrite", is_flag=True, help="Replace the picture of an earlier run."),
    click.option("--quiet", "-q", is_flag=True, help="Show warnings and errors only."),
)
"""Where a figure goes."""


def options(*groups: tuple[Callable[[Command], Command], ...]) -> Callable[[Command], Command]:
    """A decorator that adds groups of options, in the order that help shows them."""

    def decorate(command: Command) -> Command:
        for option in reversed([option for group in groups for option in group]):
            command = option(command)
        return command

    return decorate
