"""Data sets measured from end to end, with results that are made here and known errors."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from truth_files import (
    EXAMPLES,
    K,
    params_of,
    person,
    regressor_for,
    result,
    walking_truth,
    write_3dpw,
    write_official_body,
    write_own,
)

from dtsvibe_cli.datatypes import SmplParams
from dtsvibe_cli.errors import BodyModelError, ConfigError, DataError
from dtsvibe_cli.evaluation.benchmark import evaluate
from dtsvibe_cli.evaluation.outcome import Evaluation
from dtsvibe_cli.evaluation.tables import Table
from dtsvibe_cli.geometry.joints import SMPL24
from dtsvibe_cli.results import save_results
from dtsvibe_cli.smpl_files import load_body_model

FRAMES = 8
OFF = np.array([0.03, 0.0, 0.04])


def rows(evaluation: Evaluation, key: str) -> dict[str, dict[str, float]]:
    """A table as JSON has it, by the name of the row."""
    table = evaluation.to_json()["tables"][key]
    return {row.pop("name"): row for row in table["rows"]}


def write_walk(folder: Path, **more: object) -> Path:
    """The walking truth in our own format, 24 joints with pixels, in frames 0, 1, 2, ..."""
    truth = walking_truth(FRAMES)
    arrays = {
        "joint_names": np.array(SMPL24),
        "joints_cam": truth.joints_cam[None],
        "joints_px": truth.joints_px[None],
    }
    return write_own(folder, arrays | more, action="walking")


def write_result(folder: Path, joints: np.ndarray, name: str = "walk", **keywords: object) -> Path:
    folder.mkdir(exist_ok=True)
    found = person(joints, K=walking_truth().K, **keywords)  # type: ignore[arg-type]
    save_results(result(found), folder / f"{name}_smpl.npz")
    return folder


def test_a_perfect_result_has_no_error(tmp_path: Path) -> None:
    truth = walking_truth(FRAMES)
    results = write_result(tmp_path / "out", truth.joints_cam)
    evaluation = evaluate(write_walk(tmp_path / "truth"), results=results)
    for key in ("mpjpe_mm", "pa_mpjpe_mm", "accel_mm", "root_mm"):
        assert rows(evaluation, "summary")["all frames"][key] < 1e-3
    row = rows(evaluation, "by_action")["walking"]
    assert (row["frames"], row["coverage"], row["swapped"]) == (FRAMES, 100, 0)
    assert row["of_box"] < 1e-6
    assert row["jitter_mm"] == pytest.approx(row["true_jitter_mm"], abs=1e-3)
    facts = dict(evaluation.facts)
    assert facts["Joints"] == "24 SMPL joints"
    assert facts["Frames"] == "8 measured of 8 that the truth has"
    assert facts["Frames a second"] == "25"
    assert not evaluation.remarks
    assert sum(row["frames"] for row in rows(evaluation, "by_view").values()) == FRAMES


def test_a_constant_offset_is_measured_as_such(tmp_path: Path) -> None:
    truth = walking_truth(FRAMES)
    off = truth.joints_cam.copy()
    off[:, 1:] += OFF
    evaluation = evaluate(
        write_walk(tmp_path / "truth"), results=write_result(tmp_path / "out", off)
    )
    row = rows(evaluation, "by_sequence")["walk"]
    assert row["mpjpe_mm"] == pytest.approx(50 * 23 / 24, rel=1e-4)
    assert row["accel_mm"] < 1e-3


def test_missed_frames_are_counted_and_told(tmp_path: Path) -> None:
    truth = walking_truth(FRAMES)
    results = write_result(tmp_path / "out", truth.joints_cam[2:5], frame_index=np.arange(2, 5))
    evaluation = evaluate(write_walk(tmp_path / "truth"), results=results)
    row = rows(evaluation, "summary")["all frames"]
    assert (row["frames"], row["coverage"]) == (3, 37.5)
    assert any("not found in 5 of 8 frames" in text for text in evaluation.remarks)


def two_sequences(folder: Path) -> Path:
    """``walk`` of 8 frames and ``stand`` of 2, the latter with one frame's joints."""
    write_walk(folder)
    truth = walking_truth(2)
    np.savez(
        folder / "stand.npz",
        joint_names=np.array(SMPL24),
        joints_cam=truth.joints_cam[None],
        joints_px=truth.joints_px[None],
    )
    index = folder / "truth.toml"
    more = '\n[[sequence]]\nname = "stand"\ntruth = "stand.npz"\naction = "standing"\n'
    index.write_text(index.read_text() + more)
    return folder


def test_both_averages(tmp_path: Path) -> None:
    """Errors of 0 in 8 frames and of 50 * 23 / 24 in 2: means of a fifth and of a half."""
    truth = two_sequences(tmp_path / "truth")
    write_result(tmp_path / "out", walking_truth(FRAMES).joints_cam)
    off = walking_truth(2).joints_cam.copy()
    off[:, 1:] += OFF
    results = write_result(tmp_path / "out", off, "stand")
    evaluation = evaluate(truth, results=results)
    summary = rows(evaluation, "summary")
    whole = 50 * 23 / 24
    assert summary["all frames"]["mpjpe_mm"] == pytest.approx(whole / 5, rel=1e-3)
    assert summary["2 sequences"]["mpjpe_mm"] == pytest.approx(whole / 2, rel=1e-3)
    # two frames have no second difference: only the walk's are averaged
    assert summary["2 sequences"]["accel_mm"] == summary["all frames"]["accel_mm"]
    assert set(rows(evaluation, "by_action")) == {"walking", "standing"}
    only = evaluate(truth, results=results, sequences=["st*"])
    assert list(rows(only, "by_sequence")) == ["stand"]


def test_a_sequence_without_a_result_counts_as_not_found(tmp_path: Path) -> None:
    results = write_result(tmp_path / "out", walking_truth(FRAMES).joints_cam)
    evaluation = evaluate(two_sequences(tmp_path / "truth"), results=results)
    row = rows(evaluation, "summary")["all frames"]
    assert (row["frames"], row["coverage"]) == (8, 80)
    assert rows(evaluation, "by_sequence")["stand"]["mpjpe_mm"] is None
    assert any("stand_smpl.npz is missing" in text for text in evaluation.remarks)


def test_results_of_other_people_are_one_sentence(tmp_path: Path) -> None:
    elsewhere = walking_truth(FRAMES).joints_cam + np.array([5.0, 0, 0])
    truth = write_walk(tmp_path / "truth")
    with pytest.raises(DataError, match="no frame in common"):
        evaluate(truth, results=write_result(tmp_path / "a", elsewhere))
    later = write_result(
        tmp_path / "b", walking_truth(FRAMES).joints_cam, frame_index=np.arange(50, 58)
    )
    with pytest.raises(DataError, match="no frame in common"):
        evaluate(truth, results=later)


def test_vertices_are_measured_where_the_mesh_is_the_same(tmp_path: Path) -> None:
    """The true clip's own parameters: no error; with other betas: the shape's difference."""
    truth = walking_truth(150)
    folder = tmp_path / "out"
    smpl = params_of(truth)
    write_result(folder, truth.joints_cam, "synthetic_walk", smpl=smpl)
    perfect = evaluate(EXAMPLES, format="synthetic", results=folder)
    assert rows(perfect, "summary")["all frames"]["pve_mm"] < 0.1
    other = SmplParams(**vars(smpl) | {"betas": smpl.betas + 1})
    write_result(folder, truth.joints_cam, "synthetic_walk", smpl=other)
    stout = evaluate(EXAMPLES, format="synthetic", results=folder)
    assert rows(stout, "summary")["all frames"]["pve_mm"] > 5


def test_papers_joints_of_3dpw(tmp_path: Path) -> None:
    """With SMPL's body and the regressor: 14 joints from both meshes, and vertices."""
    body_file = write_official_body(tmp_path / "SMPL.npz")
    body = load_body_model(body_file)
    np.save(tmp_path / "J_regressor_h36m.npy", regressor_for(body))
    params, joints = write_3dpw(tmp_path / "3DPW", body)
    (tmp_path / "out").mkdir()
    meta = {"body_model": {"name": body.name, "sha256": body.sha256}}
    found = result(person(joints, K=K, smpl=params), meta=meta)
    path = tmp_path / "out" / "downtown_test_00_smpl.npz"
    save_results(found, path)
    keywords = {
        "format": "3dpw",
        "results": tmp_path / "out",
        "body_model": body_file,
        "regressor": tmp_path / "J_regressor_h36m.npy",
    }
    evaluation = evaluate(tmp_path / "3DPW", **keywords)  # type: ignore[arg-type]
    first = rows(evaluation, "by_sequence")["downtown_test_00 / actor 0"]
    assert first["frames"] == 4  # two of six have no valid camera or too few detections
    for key in ("mpjpe_mm", "pa_mpjpe_mm", "pve_mm"):
        assert first[key] < 1e-2
    second = rows(evaluation, "by_sequence")["downtown_test_00 / actor 1"]
    assert second["coverage"] == 0  # nobody is two people
    facts = dict(evaluation.facts)
    assert facts["Joints"] == "14 LSP joints (H36M regressor)"
    assert "middle of the hips" in facts["Alignment"]
    with pytest.raises(BodyModelError, match="give the same --body-model"):
        evaluate(tmp_path / "3DPW", format="3dpw", results=tmp_path / "out")


def test_a_truth_without_papers_joints_is_one_sentence(tmp_path: Path) -> None:
    body_file = write_official_body(tmp_path / "SMPL.npz")
    body = load_body_model(body_file)
    np.save(tmp_path / "J.npy", regressor_for(body))
    results = write_result(tmp_path / "out", walking_truth(FRAMES).joints_cam)
    with pytest.raises(DataError, match="leave --regressor out"):
        evaluate(
            write_walk(tmp_path / "truth"),
            results=results,
            body_model=body_file,
            regressor=tmp_path / "J.npy",
        )


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"joints": "lsp14"}, "give --regressor J_regressor_h36m.npy"),
        ({"regressor": Path("J.npy")}, "give it as --body-model"),
        ({"joints": "coco"}, "no joint set 'coco'"),
        ({"boxes": "all"}, "no choice of boxes 'all'"),
    ],
)
def test_choices_that_do_not_go_together(keywords: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        evaluate(EXAMPLES, format="synthetic", **keywords)  # type: ignore[arg-type]


def test_what_is_missing_is_one_sentence(tmp_path: Path) -> None:
    truth = write_walk(tmp_path / "truth")
    with pytest.raises(DataError, match="give the folder of the data set"):
        evaluate(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no folder of results"):
        evaluate(truth, results=tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"holds no result of this data set: .*walk_smpl\.npz is"):
        evaluate(truth, results=tmp_path)
    with pytest.raises(DataError, match="The video of walk is missing"):
        evaluate(truth)
    with pytest.raises(DataError, match=r"no sequence named run\*"):
        evaluate(truth, results=tmp_path, sequences=["run*"])


def test_an_evaluation_that_fails_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "scores"
    with pytest.raises(DataError):
        evaluate(write_walk(tmp_path / "truth"), results=tmp_path, out=out)
    assert not out.exists()


def test_files_say_what_made_them(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    meta = {"weights": {"name": "mine", "sha256": ["abc"]}}
    found = result(person(walking_truth(FRAMES).joints_cam, K=walking_truth().K), meta=meta)
    save_results(found, folder / "walk_smpl.npz")
    out = tmp_path / "scores"
    evaluate(write_walk(tmp_path / "truth"), results=folder, out=out)
    written = json.loads((out / "evaluation.json").read_text())
    assert written["made_with"]["results"] == [meta]
    assert written["made_with"]["versions"]["dtsvibe"]
    assert written["made_with"]["command"]
    page = (out / "evaluation.md").read_text()
    for needed in ("24 SMPL joints", "Procrustes", "per frame squared", "pelvis", "abc"):
        assert needed in page
    with pytest.raises(ConfigError, match="--overwrite"):
        evaluate(tmp_path / "truth", results=folder, out=out)


def test_every_table_says_what_it_is_of(tmp_path: Path) -> None:
    results = write_result(tmp_path / "out", walking_truth(FRAMES).joints_cam)
    evaluation = evaluate(write_walk(tmp_path / "truth"), results=results)
    tables: tuple[Table, ...] = evaluation.tables
    assert [table.key for table in tables] == ["summary", "by_sequence", "by_action", "by_view"]
    for table in tables:
        assert "24 SMPL joints; pelvis aligned, PA by Procrustes; boxes:" in table.caption
        assert replace(table, rows=()).columns[1].title == "frames"
