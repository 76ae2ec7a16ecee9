import io
from fractions import Fraction
from pathlib import Path

import pytest
from rich.console import Console

from dtsvibe_cli.bench.clip import ClipSpec
from dtsvibe_cli.bench.comparison import Contestant
from dtsvibe_cli.bench.floor import Cost
from dtsvibe_cli.bench.growth import (
    DEFAULTS,
    GrowthPoint,
    check_growth,
    increase,
    parse_growth,
    vary,
)
from dtsvibe_cli.bench.measured import STAGES, Measured, complete_stages
from dtsvibe_cli.bench.network_path import NetworkPath
from dtsvibe_cli.bench.report import BenchReport
from dtsvibe_cli.bench.tables import (
    growth_table,
    network_table,
    notes,
    speed_table,
    stage_table,
)
from dtsvibe_cli.datatypes import VideoInfo
from dtsvibe_cli.errors import ConfigError


def measured(way: str, seconds: float, num_frames: int = 10, memory: float = 100.0) -> Measured:
    return Measured(
        way=way,
        device="cpu",
        renderer="numpy",
        num_frames=num_frames,
        people_per_frame=1.0,
        seconds=seconds,
        cpu_seconds=seconds,
        stages=complete_stages({"decode": seconds / 4}, seconds),
        stages_cpu=complete_stages({"decode": seconds / 4}),
        peak_memory_mib=memory,
    )


def contestant(way: str, *seconds: float, num_frames: int = 10) -> Contestant:
    return Contestant(way=way, rounds=tuple(measured(way, s, num_frames) for s in seconds))


def test_stages_fill_up_to_the_time_that_passed() -> None:
    stages = complete_stages({"decode": 1.0, "observe": 0.5}, 4.0)
    assert list(stages) == [*STAGES, "other"]
    assert (stages["decode"], stages["other"]) == (1.0, 3.0)
    assert complete_stages({"decode": 1.0, "observe": 0.5})["other"] == pytest.approx(0.5)
    parts = complete_stages({"v_cnn": 1.0, "blazepose": 0.5, "draw": 2.0, "render": 0.25})
    assert (parts["v_cnn"], parts["render"], parts["other"]) == (1.5, 2.0, 0.25)
    assert complete_stages({"decode": 3.0, "detect": 3.0}, 4.0)["other"] == 0.0  # they overlapped


def test_the_ratio_is_the_median_of_the_rounds() -> None:
    ours = contestant("dtsvibe", 1.0, 4.0, 1.0)
    theirs = contestant("vibe", 2.0, 12.0, 1.0, num_frames=1)
    assert ours.ratios_to(theirs) == pytest.approx([20, 30, 10])
    assert ours.ratio_to(theirs) == pytest.approx(20)
    assert ours.typical.seconds == 1.0


@pytest.fixture
def report() -> BenchReport:
    points = (GrowthPoint(value="60", run=measured("dtsvibe", 1.0)),)
    network_path = NetworkPath(
        device="cpu",
        num_frames=600,
        people_per_frame=2.0,
        seconds=4.0,
        stages={"v_cnn": 0.25, "transformer": 0.75},
        floor={"v_cnn": Cost(multiply_adds=350e6, bytes_moved=70e6)},
        upload_bytes=0,
    )
    return BenchReport(
        clip="x.mp4",
        video=VideoInfo(path=Path("x.mp4"), width_px=4, height_px=2, frame_rate=Fraction(30)),
        contestants=(contestant("dtsvibe", 2.0), contestant("nano", 3.0, num_frames=1)),
        growth=((parse_growth("length=60"), points),),
        network_paths=(network_path,),
        machine={"cores": 2, "torch": "9", "reference_threads": 2},
        unmeasured=("CUDA",),
    )


def test_tables_tell_ways_stages_growth_and_what_is_missing(report: BenchReport) -> None:
    console = Console(width=120, file=io.StringIO())
    for table in (
        speed_table(report),
        stage_table(report),
        growth_table(*report.growth[0]),
        network_table(report.network_paths),
    ):
        console.print(table)
    console.print("\n".join(notes(report)))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    for told in ("dtsvibe (cpu, numpy)", "5.00", "15.0 (15.0 to 15.0)", "decode", "x 1.00", "CUDA"):
        assert told in text
    assert "transformer 75%" in text
    assert "0.70" in text  # 10⁹ multiply-adds a frame, of two people
    assert "V-CNN" not in text.partition("Clip: ")[0]  # nothing took place there


def test_the_report_has_what_programs_look_for(report: BenchReport) -> None:
    values = report.to_json()
    assert values["frames_per_second"] == 5.0
    assert values["ratio_to_vibe_way"] is None
    assert values["ratio_to_nano_way"] == pytest.approx(15)
    assert values["peak_memory_mib"] == 100.0
    assert sum(values["stages"].values()) == pytest.approx(2.0)
    assert values["network_path"][0]["frames_per_second"] == pytest.approx(150)
    assert [each["way"] for each in values["contestants"]] == ["dtsvibe", "nano"]
    assert values["unmeasured"] == ["CUDA"]


def test_growth_is_read_from_text() -> None:
    assert parse_growth("people").values == DEFAULTS["people"]
    assert parse_growth("length=60,1200").values == ("60", "1200")
    assert vary(ClipSpec(), "resolution", "640x360") == ClipSpec(width_px=640, height_px=360)
    assert vary(ClipSpec(), "people", "3").people == 3
    assert vary(ClipSpec(), "length", "0.5").seconds == 0.5


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("width", "no growth with 'width'"),
        ("people=1,two", "'two' is no people"),
        ("people=0", "at least one person"),
        ("resolution=640", "'640' is no resolution"),
        ("length=nan", "length in seconds"),
        ("length=", None),
    ],
)
def test_growth_that_cannot_be_is_refused(text: str, told: str | None) -> None:
    if told is None:
        assert parse_growth(text).values == DEFAULTS["length"]
        return
    with pytest.raises(ConfigError, match=told):
        parse_growth(text)


def test_a_given_clip_can_only_be_made_longer() -> None:
    check_growth(parse_growth("length"), Path("x.mp4"))
    with pytest.raises(ConfigError, match="leave VIDEO out"):
        check_growth(parse_growth("people"), Path("x.mp4"))


def test_increase_is_of_time_a_frame_and_of_memory() -> None:
    points = [
        GrowthPoint(value="1", run=measured("dtsvibe", 1.0, 10, 100.0)),
        GrowthPoint(value="9", run=measured("dtsvibe", 18.0, 90, 110.0)),
    ]
    assert increase(points) == (pytest.approx(2), pytest.approx(1.1))
