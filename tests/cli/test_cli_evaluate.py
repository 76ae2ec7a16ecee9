"""``dtsvibe evaluate`` as a user calls it, on a second of the bundled clip."""

import inspect
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from dtsvibe_cli.cli._ablation import ABLATION_KEYWORDS
from dtsvibe_cli.cli._tables import print_evaluation
from dtsvibe_cli.cli.evaluate import evaluate
from dtsvibe_cli.evaluation.outcome import Evaluation
from dtsvibe_cli.evaluation.tables import Column, Table
from dtsvibe_cli.synthetic.clip import FRAME_RATE
from dtsvibe_cli.video import VideoWriter, read_frames

Call = Callable[..., Result]

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
NUM_FRAMES = 20
OF_THE_COMMAND_ONLY = {"as_json", "quiet", "debug", "ablation"}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first frames of the bundled clip, with as much of its truth."""
    folder = tmp_path_factory.mktemp("clips")
    with VideoWriter(folder / "walk.mp4", frame_rate=FRAME_RATE) as writer:
        for frame in read_frames(EXAMPLES / "synthetic_walk.mp4"):
            if frame.index == NUM_FRAMES:
                break
            writer.write(frame.rgb, pts=frame.pts, time_base=frame.time_base)
    with np.load(EXAMPLES / "synthetic_walk_truth.npz") as truth:
        cut = {
            name: value[:NUM_FRAMES] if value.ndim and len(value) > NUM_FRAMES else value
            for name, value in truth.items()
        }
    np.savez(folder / "walk_truth.npz", **cut)
    return folder


def test_a_clip_is_run_measured_kept_and_measured_again(
    clip: Path, tmp_path: Path, dtsvibe: Call
) -> None:
    out = tmp_path / "scores"
    ran = dtsvibe(
        *("evaluate", clip, "--format", "synthetic", "--boxes", "truth", "--no-refine"),
        *("--device", "cpu", "--out", out, "--json"),
    )
    assert ran.exit_code == 0, ran.output
    scores = json.loads(ran.stdout)
    (row,) = scores["tables"]["by_sequence"]["rows"]
    assert (row["name"], row["frames"], row["coverage"]) == ("walk", NUM_FRAMES, 100)
    assert 20 < row["pa_mpjpe_mm"] < 90  # this network on this clip: about 55
    assert row["of_box"] < 0.04
    assert scores["facts"]["Boxes"].startswith("those of the ground truth")
    assert scores["made_with"]["results"][0]["settings"]["refine"] is False
    assert sorted(path.name for path in out.iterdir()) == [
        "evaluation.json",
        "evaluation.md",
        "walk_smpl.npz",
    ]
    again = dtsvibe("evaluate", clip, "--format", "synthetic", "--results", out, "-q")
    assert again.exit_code == 0, again.output
    number = f"{row['pa_mpjpe_mm']:.1f}"
    assert f"| {number} |" in again.stdout
    assert "as in the saved results" in again.stdout


def test_options_are_the_keywords_of_the_api() -> None:
    benchmark = pytest.importorskip("dtsvibe_cli.evaluation.benchmark")
    pipeline = pytest.importorskip("dtsvibe_cli.pipeline")
    ablation = pytest.importorskip("dtsvibe_cli.training.ablation")
    own = inspect.signature(benchmark.evaluate).parameters
    of_ablation = inspect.signature(ablation.run_ablation).parameters
    estimate = inspect.signature(pipeline.estimate_video).parameters
    context = evaluate.make_context("evaluate", ["x"])
    for name, value in context.params.items():
        if name in OF_THE_COMMAND_ONLY | {"dataset"}:
            continue
        others = of_ablation if name in ABLATION_KEYWORDS else estimate
        assert value == (own if name in own else others)[name].default, name
    assert own.keys() - context.params.keys() == {"on_progress", "estimate"}
    assert of_ablation.keys() - context.params.keys() == {"motion", "on_progress"}


def test_a_missing_data_set_is_one_sentence(tmp_path: Path, dtsvibe: Call) -> None:
    result = dtsvibe("evaluate", tmp_path / "none")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == (
        f"Error: There is no {tmp_path / 'none'}: give the folder of the data set.\n"
    )


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--format", "motion", "--results", "x"), "--results does not go with --format motion"),
        (("--format", "motion", "--no-refine"), "--refine does not go with --format motion"),
        (("--results", "x", "--weights", "lite"), "--weights does not go with --results"),
        (("--format", "coco"), "is not one of"),
        (("--steps", "5"), "--steps does not go with anything but --ablation"),
        (("--ablation", "--weights", "lite"), "--weights does not go with --ablation"),
        (("--ablation", "--format", "3dpw"), "--format does not go with --ablation"),
        (("--ablation", "--format", "motion"), "--ablation needs --out"),
    ],
)
def test_options_that_would_be_passed_over_are_usage_errors(
    tmp_path: Path, dtsvibe: Call, args: tuple[str, ...], message: str
) -> None:
    result = dtsvibe("evaluate", tmp_path, *args)
    assert result.exit_code == 2
    assert message in result.stderr


def test_motion_goes_to_the_network_alone(tmp_path: Path, dtsvibe: Call) -> None:
    result = dtsvibe("evaluate", tmp_path, "--format", "motion")
    assert result.exit_code == 1
    assert "holds no .amc, .bvh or exponential-map files" in result.stderr


def test_a_terminal_gets_drawn_tables(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = Table(
        key="t",
        title="Encoders",
        caption="24 joints",
        columns=(Column(key="name", title="encoder"), Column(key="x", title="MPJPE mm")),
        rows=(("GRU", 1.26),),
    )
    evaluation = Evaluation(
        title="T", facts=(("Joints", "24"),), tables=(table,), remarks=("one was missed",)
    )
    monkeypatch.setenv("COLUMNS", "80")
    print_evaluation(evaluation)
    assert "| GRU | 1.3 |" in capsys.readouterr().out
    monkeypatch.setenv("FORCE_COLOR", "1")
    print_evaluation(evaluation)
    drawn = capsys.readouterr().out
    assert "| GRU" not in drawn
    for text in ("Encoders", "GRU", "1.3", "24 joints", "Remark: one was missed"):
        assert text in drawn
