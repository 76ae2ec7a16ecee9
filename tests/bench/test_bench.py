import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from dtsvibe_cli.bench.clip import ClipSpec, make_bench_clip
from dtsvibe_cli.bench.measured import STAGES, Measured
from dtsvibe_cli.bench.product import measure_product
from dtsvibe_cli.bench.reference import measure_reference
from dtsvibe_cli.bench.worker import Worker
from dtsvibe_cli.cli import main
from dtsvibe_cli.synthetic.clip import FRAME_RATE
from dtsvibe_cli.video import VideoWriter

ALONE = ("--renderer", "numpy", "--device", "cpu", "--skip", "vibe", "--skip", "nano")
SMALL = ClipSpec(width_px=320, height_px=240, seconds=0.4)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bench_clip(SMALL, tmp_path_factory.mktemp("clip") / "walk.mp4")


@pytest.fixture(scope="module")
def product(clip: Path) -> Measured:
    return measure_product(clip, clip.parent, renderer="numpy", device="cpu")


def call(*args: object) -> Result:
    return CliRunner().invoke(main, ["bench", *(str(arg) for arg in args)])


def test_every_stage_of_dtsvibe_is_timed(product: Measured) -> None:
    assert product.num_frames == 12
    assert product.people_per_frame == pytest.approx(1, abs=0.2)
    assert product.peak_memory_mib > 100
    assert list(product.stages) == [*STAGES, "other"]
    assert all(product.stages[stage] > 0 for stage in STAGES)
    assert sum(product.stages.values()) >= product.seconds * 0.999


@pytest.mark.parametrize("name", ["vibe", "nano"])
def test_references_do_the_same_work(clip: Path, product: Measured, name: str) -> None:
    with Worker() as worker:  # its pyrender closes the display of this process' own
        run = worker.run(
            measure_reference,
            "vibe" if name == "vibe" else "nano",
            clip,
            clip.parent / "walk_smpl.npz",
            clip.parent,
            num_frames=2,
            device="cpu",
        )
    assert (run.way, run.num_frames) == (name, 2)
    assert run.people_per_frame == pytest.approx(product.people_per_frame, abs=0.5)
    paid = {"decode", "detect", "crop", "v_cnn", "transformer", "body", "render", "encode"}
    assert {stage for stage in STAGES if run.stages[stage] > 0} == paid
    assert sum(run.stages.values()) == pytest.approx(run.seconds)


def test_the_command_measures_and_draws(tmp_path: Path, clip: Path) -> None:
    picture = tmp_path / "bench.png"
    flags = "--renderer numpy --device cpu --skip vibe --rounds 1 --reference-frames 1 --threads 1"
    result = call(
        clip, *flags.split(), "--json", "--quiet", "--growth", "length=0.8", "--picture", picture
    )
    assert result.exit_code == 0, result.output
    values = json.loads(result.stdout)
    assert values["frames_per_second"] == pytest.approx(12 / values["seconds"])
    assert values["ratio_to_vibe_way"] is None
    nano = values["contestants"][1]
    assert values["ratio_to_nano_way"] == pytest.approx(
        values["frames_per_second"] / nano["frames_per_second"]
    )
    assert values["peak_memory_mib"] > 100
    assert values["growth"]["length"][0]["num_frames"] == 24
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [picture]


def test_tables_name_the_ways_and_the_stages(clip: Path) -> None:
    result = call(clip, *ALONE, "--rounds", 1)
    assert result.exit_code == 0, result.output
    for text in ("dtsvibe (cpu, numpy)", "V-CNN", "encode", "frames/s", "12 frames of 320x240"):
        assert text in result.stdout


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["none.mp4"], "none.mp4 does not exist"),
        (["--growth", "width"], "no growth with 'width'"),
        (["--people", "99"], "do not fit"),
        (["--device", "abacus"], "no device 'abacus'"),
        (["--picture", "bench.doc"], "must end in .png"),
        (["--picture", "no/such/bench.png"], "no folder no/such"),
        (["none.mp4", "--growth", "people"], "leave VIDEO out"),
    ],
)
def test_mistakes_are_told_before_the_work(
    flags: list[str], told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call(*flags)
    assert result.exit_code == 1
    assert told in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", ["1280", "1280x", "-1x20", "axb"])
def test_a_size_is_two_numbers(size: str) -> None:
    result = call("--size", size)
    assert result.exit_code == 2
    assert "give width and height as 1280x720" in result.stderr


def test_a_clip_without_people_is_an_error(tmp_path: Path) -> None:
    empty = tmp_path / "empty.mp4"
    with VideoWriter(empty, frame_rate=FRAME_RATE) as writer:
        for index in range(3):
            writer.write(np.full((96, 128, 3), 90, np.uint8), pts=index, time_base=1 / FRAME_RATE)
    result = call(empty, *ALONE)
    assert result.exit_code == 1
    assert "Nobody was found" in result.stderr
