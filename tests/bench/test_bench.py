import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from dtsvibe_cli.bench.clip import ClipSpec, make_bench_clip
from dtsvibe_cli.bench.measured import STAGES
from dtsvibe_cli.bench.product import measure_product
from dtsvibe_cli.cli import main
from dtsvibe_cli.errors import VideoError
from dtsvibe_cli.synthetic.clip import FRAME_RATE
from dtsvibe_cli.video import VideoWriter

SMALL = ClipSpec(width_px=320, height_px=240, seconds=0.4)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bench_clip(SMALL, tmp_path_factory.mktemp("clip") / "walk.mp4")


def call(*args: object) -> Result:
    return CliRunner().invoke(main, ["bench", *(str(arg) for arg in args)])


@pytest.fixture(scope="module")
def result(clip: Path) -> dict[str, Any]:
    """Of the command on a tiny clip, with all that it can do."""
    flags = "--renderer numpy --device cpu --rounds 1 --reference-frames 2 --threads 1 --json -q"
    done = call(
        clip, *flags.split(), "--growth", "length=0.8", "--picture", clip.with_name("bench.png")
    )
    assert done.exit_code == 0, done.output
    values: dict[str, Any] = json.loads(done.stdout)
    return values


def test_every_stage_of_dtsvibe_is_timed(result: dict[str, Any]) -> None:
    assert result["num_frames"] == 12
    assert result["people_per_frame"] == pytest.approx(1, abs=0.2)
    assert result["frames_per_second"] == pytest.approx(12 / result["seconds"])
    assert result["peak_memory_mib"] > 100
    assert list(result["stages"]) == [*STAGES, "other"]
    assert all(result["stages"][stage] > 0 for stage in STAGES)
    assert sum(result["stages"].values()) >= result["seconds"] * 0.999


@pytest.mark.parametrize("way", ["vibe", "nano"])
def test_references_do_the_same_work(result: dict[str, Any], way: str) -> None:
    ours, *references = result["contestants"]
    (theirs,) = (each for each in references if each["way"] == way)
    assert theirs["num_frames"] == 2
    assert theirs["people_per_frame"] == pytest.approx(ours["people_per_frame"], abs=0.5)
    paid = {"decode", "detect", "crop", "v_cnn", "transformer", "body", "render", "encode"}
    assert {stage for stage in STAGES if theirs["stages"][stage] > 0} == paid
    assert sum(theirs["stages"].values()) == pytest.approx(theirs["seconds"])
    ratio = ours["frames_per_second"] / theirs["frames_per_second"]
    assert result[f"ratio_to_{way}_way"] == pytest.approx(ratio)


def test_the_network_path_is_timed_alone(result: dict[str, Any]) -> None:
    (path,) = result["network_path"]
    assert path["device"] == "cpu"
    assert path["num_frames"] % 12 == 0
    assert path["frames_per_second"] == pytest.approx(path["num_frames"] / path["seconds"])
    assert set(path["stages"]) == {"crop", "v_cnn", "flow", "o_cnn", "transformer"}
    assert sum(path["stages"].values()) == pytest.approx(1)
    assert path["bottleneck"] in path["stages"]
    assert path["peak_device_memory_mib"] is path["utilisation_percent"] is None
    assert set(path["floor"]) == {"blazepose", "o_cnn", "transformer"}  # flow is OpenCV's here
    assert path["multiply_adds_a_frame"] == pytest.approx(
        path["people_per_frame"] * sum(part["multiply_adds"] for part in path["floor"].values())
    )


def test_growth_is_measured_on_longer_clips(result: dict[str, Any]) -> None:
    (point,) = result["growth"]["length"]
    assert (point["value"], point["num_frames"]) == ("0.8", 24)
    assert result["growth_last_to_first"]["length"] == {"ms_per_frame": 1.0, "peak_memory_mib": 1.0}


def test_only_the_picture_is_left_behind(result: dict[str, Any], clip: Path) -> None:
    picture = clip.with_name("bench.png")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert sorted(clip.parent.iterdir()) == [picture, clip]


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["none.mp4"], "none.mp4 does not exist"),
        (["--growth", "width"], "no growth with 'width'"),
        (["--people", "99"], "do not fit"),
        (["--device", "abacus"], "no device 'abacus'"),
        (["--picture", "bench.doc"], "must end in .png"),
        (["--picture", "no/such/bench.png"], "no folder no/such"),
        (["."], "is a folder"),
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
    with pytest.raises(VideoError, match="Nobody was found"):
        measure_product(empty, tmp_path / "out", renderer="numpy", device="cpu")
