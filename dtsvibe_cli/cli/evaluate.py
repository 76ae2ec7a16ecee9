"""``dtsvibe evaluate``: how far results are from known truth."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from dtsvibe_cli.cli._ablation import ABLATION, ABLATION_KEYWORDS
from dtsvibe_cli.cli._console import print_json, progress_bars
from dtsvibe_cli.cli._errors import report_errors
from dtsvibe_cli.cli._options import OUTPUT, body_model, options

_DEFAULT = click.core.ParameterSource.DEFAULT
_FILE = click.Path(path_type=Path, dir_okay=False)
_FOLDER = click.Path(path_type=Path, file_okay=False)

_OF_MOTION = ("weights", "device", "out", "overwrite")
"""Options that motion alone, without videos, has a use for."""
_OF_ABLATION = ("device", "out")
"""The same for the ablation, apart from its own."""
_OF_RUNS = ("boxes", "weights", "refine", "window_stride", "smooth_s", "device")
"""Options that saved results have no use for."""

_WHAT = (
    click.option(
        "--format",
        type=click.Choice(["ours", "3dpw", "h36m", "3dhp", "synthetic", "motion"]),
        default="ours",
        show_default=True,
        help="How DATASET is laid out. ours: a folder with a truth.toml. motion: motion capture"
        " files, of which the held-out ones are shown to the network as simulated observations.",
    ),
    click.option(
        "--split",
        metavar="NAME",
        help="Part of the data set; otherwise the one that papers measure. 3dpw: test, validation,"
        " train. h36m: p2 (frontal camera), p1 (all cameras). 3dhp: test, indoor, outdoor.",
    ),
    click.option(
        "--sequence",
        "sequences",
        multiple=True,
        metavar="PATTERN",
        help="Only sequences of this name; * and ? stand for anything. May be given again.",
    ),
    click.option(
        "--results",
        type=_FOLDER,
        metavar="DIR",
        help="Measure the NAME_smpl.npz files in this folder instead of running the program.",
    ),
    click.option(
        "--out",
        "-o",
        type=_FOLDER,
        metavar="DIR",
        help="Write evaluation.md, evaluation.json and each sequence's result here.",
    ),
)
_PROTOCOL = (
    click.option(
        "--boxes",
        type=click.Choice(["tracked", "truth"]),
        default="tracked",
        show_default=True,
        help="Find and track people, or take people and boxes from the ground truth.",
    ),
    click.option(
        "--joints",
        type=click.Choice(["auto", "smpl", "lsp14"]),
        default="auto",
        show_default=True,
        help="smpl: joints of SMPL's tree that the truth has. lsp14: the 14 joints of papers,"
        " regressed from the mesh. auto: lsp14 when there is a --regressor.",
    ),
    click.option(
        "--regressor",
        type=_FILE,
        metavar="FILE",
        help="J_regressor_h36m.npy, for the 14 joints; needs --body-model.",
    ),
    body_model,
    click.option(
        "--male", type=_FILE, metavar="FILE", help="SMPL's male body, for truth made with it."
    ),
    click.option("--female", type=_FILE, metavar="FILE", help="SMPL's female body, likewise."),
)
_ESTIMATE = (
    click.option(
        "--weights",
        default="lite",
        show_default=True,
        metavar="NAME|FILE",
        help="Trained network: a built-in one or a .safetensors file.",
    ),
    click.option(
        "--refine/--no-refine",
        default=True,
        show_default=True,
        help="Fit the result to the picture afterwards, or measure the network alone.",
    ),
    click.option(
        "--window-stride",
        type=click.IntRange(min=1),
        show_default="half a window",
        metavar="FRAMES",
        help="Frames from one window of the network to the next.",
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
)


@click.command()
@click.argument("dataset", type=click.Path(path_type=Path))
@options(_WHAT, _PROTOCOL, _ESTIMATE, ABLATION, OUTPUT)
@report_errors
@click.pass_context
def evaluate(
    ctx: click.Context,
    /,
    *,
    dataset: Path,
    ablation: bool,
    as_json: bool,
    quiet: bool,
    **keywords: Any,
) -> None:
    """Measure results against DATASET, in which the truth is known.

    \b
    dtsvibe evaluate examples --format synthetic
    dtsvibe evaluate my_truth --out scores
    dtsvibe evaluate 3DPW --format 3dpw --boxes truth --body-model SMPL_NEUTRAL.pkl \\
        --regressor J_regressor_h36m.npy --male SMPL_MALE.pkl --female SMPL_FEMALE.pkl
    dtsvibe evaluate my_truth --results out         what was saved before
    dtsvibe evaluate cmu --format motion            the network on held-out motion capture
    dtsvibe evaluate cmu --ablation --out ablation  what each part of the network is worth

    Prints mean joint errors (MPJPE, and PA-MPJPE after the best similarity transform), vertex and
    acceleration errors: over all, by sequence, by action and by view angle, with the joints, boxes
    and alignment that they belong to. People who were not found are counted, not passed over.
    """  # noqa: D301
    of_ablation = {name: keywords.pop(name) for name in ABLATION_KEYWORDS}
    on_motion = keywords["format"] == "motion"
    if not ablation:
        _refuse(ctx, ABLATION_KEYWORDS, "anything but --ablation")
    if ablation:
        own = {*_OF_ABLATION, "format"} if on_motion else {*_OF_ABLATION}
        _refuse(ctx, sorted(keywords.keys() - own), "--ablation")
        if keywords["out"] is None:
            raise click.UsageError("--ablation needs --out, a folder for what it trains.")
    elif on_motion:
        _refuse(ctx, [*(keywords.keys() - {*_OF_MOTION, "format"})], "--format motion")
    elif keywords["results"] is not None:
        _refuse(ctx, _OF_RUNS, "--results")
    with progress_bars(quiet=quiet) as on_progress:
        if ablation:
            from dtsvibe_cli.training.ablation import run_ablation

            chosen = of_ablation | {name: keywords[name] for name in _OF_ABLATION}
            evaluation = run_ablation(dataset, on_progress=on_progress, **chosen)
        elif on_motion:
            from dtsvibe_cli.training.held_out import evaluate_motion

            chosen = {name: keywords[name] for name in _OF_MOTION}
            evaluation = evaluate_motion(dataset, on_progress=on_progress, **chosen)
        else:
            from dtsvibe_cli.evaluation.benchmark import evaluate as evaluate_dataset

            evaluation = evaluate_dataset(dataset, on_progress=on_progress, **keywords)
    if as_json:
        print_json(evaluation.to_json())
        return
    from dtsvibe_cli.cli._tables import print_evaluation

    print_evaluation(evaluation)


def _refuse(ctx: click.Context, names: Sequence[str], because: str) -> None:
    """A usage error when one of these options was given: it would be passed over."""
    given = [name for name in names if ctx.get_parameter_source(name) is not _DEFAULT]
    if given:
        options_of = {param.name: param.opts[0] for param in ctx.command.params}
        raise click.UsageError(f"{options_of[given[0]]} does not go with {because}.")
