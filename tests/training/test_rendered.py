"""The rendered stage: the same for the same seed, complete labels, resumable, held-out kept out."""

from pathlib import Path

import numpy as np
import pytest
import torch
from motion_files import write_random_amc

from dtsvibe_cli.errors import DataError
from dtsvibe_cli.geometry.rotations import rotvec_to_rotmat
from dtsvibe_cli.landmarks import LandmarkRegressor
from dtsvibe_cli.smpl import BodyModel
from dtsvibe_cli.smpl_files import load_body_model
from dtsvibe_cli.training import rendered
from dtsvibe_cli.training.gap_statistics import found_only, landmark_swaps
from dtsvibe_cli.training.gap_tables import SECTIONS
from dtsvibe_cli.training.motion_bank import Clip, MotionBank
from dtsvibe_cli.training.observation_gap import GapSample, sample_of
from dtsvibe_cli.training.rendered import SeenPerson, Studio, to_sequence
from dtsvibe_cli.training.scenes import Director
from dtsvibe_cli.training.sequences import read_sequence, write_sequence
from dtsvibe_cli.training.synthesis import render_sequences

pytest.importorskip("numba")


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return load_body_model()


def _bank() -> MotionBank:
    """Somebody who stands and sways."""
    generator = torch.Generator().manual_seed(0)
    sway = torch.randn(1, 24, 3, generator=generator) * 0.1
    phase = torch.linspace(0, 6.3, 200)[:, None, None]
    rotmats = rotvec_to_rotmat(sway * torch.sin(phase))
    clip = Clip(name="sway", held_out=False, rotmats=rotmats, transl_m=torch.zeros(200, 3))
    return MotionBank(clips=(clip,))


@pytest.fixture(scope="module")
def people(body: BodyModel) -> list[SeenPerson]:
    """Those of the first scene in which somebody is seen in all of its few frames."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rendered, "MIN_SEEN", 3)
        studio = Studio(Director(_bank(), body, frames=(9, 9)))
        for index in range(6):
            seen = studio.people(3, index)
            if seen and len(seen[0].observations.time_s) == 9:
                return seen
    raise AssertionError("nobody was seen")


def test_a_scene_is_a_function_of_seed_and_index(body: BodyModel) -> None:
    director = Director(_bank(), body, frames=(3, 3))
    first, again, other = (director.scene(5, index) for index in (2, 2, 3))
    np.testing.assert_array_equal(first.people[0].landmarks_px, again.people[0].landmarks_px)
    np.testing.assert_array_equal(
        first.film.actors[0].person.texture, again.film.actors[0].person.texture
    )
    assert first.film.footage == again.film.footage
    assert first.shot != other.shot


def test_labels_are_those_of_a_camera_that_looks_straight_at_the_person(
    people: list[SeenPerson], body: BodyModel
) -> None:
    sequence = to_sequence(people[0])
    pose = rotvec_to_rotmat(torch.from_numpy(sequence.full_pose_rotvec))
    betas = torch.from_numpy(sequence.betas).expand(len(pose), -1)
    joints = body.pose(pose, betas).joints
    joints = (joints - joints[:, :1]).numpy()
    np.testing.assert_allclose(joints, sequence.joints_m, atol=2e-3)
    # seen from far enough, crop coordinates are the joints' x and y, scaled and moved
    x = np.stack([joints[..., 0].ravel(), np.ones(joints[..., 0].size)], 1)
    shape = sequence.joints_crop[..., 0]
    centred = shape - shape[:, :1]
    slope, *_ = np.linalg.lstsq(x, centred.ravel(), rcond=None)
    assert slope[0] > 0.3
    assert np.corrcoef(x[:, 0], centred.ravel())[0, 1] > 0.95


def test_inputs_are_those_of_the_networks(people: list[SeenPerson], tmp_path: Path) -> None:
    person = people[0]
    sequence = read_sequence(write_sequence(tmp_path, to_sequence(person)))
    assert sequence.seen.all()
    error = (
        sequence.landmarks_crop[:, 11:29:2]
        - (
            (person.truth.landmarks_px - sequence.crops_cxcysa[:, None, :2])
            / (sequence.crops_cxcysa[:, None, 2:3] / 2)
        )[:, 11:29:2]
    )
    assert np.median(np.abs(error)) < 0.25  # BlazePose was there, and the units are right
    assert not sequence.flow[0].any()
    assert sequence.flow.shape[1:] == (2, 32, 32)
    assert ((sequence.keypoints_crop[..., 2] > 0).any(1)).sum() < 9  # asked in some frames only


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # empty groups give NaN
def test_statistics_of_perfect_and_of_exchanged_observations(
    people: list[SeenPerson], body: BodyModel, tmp_path: Path
) -> None:
    sample = sample_of(people[0], body, LandmarkRegressor(body))
    sample.save(tmp_path / "sample.npz")
    sample = GapSample.load(tmp_path / "sample.npz")
    arrays = {name: getattr(sample, name) for name in GapSample.__dataclass_fields__}
    spread = sample.true * [4.0, 1.0]  # sides far enough apart to be told
    perfect = GapSample(**arrays | {"given": spread, "true": spread})
    mirrored = GapSample(
        **arrays | {"given": spread[:, [0, *range(4, 7), *range(1, 4), 8, 7, 10, 9, 12, 11, 14, 13,
                                        *(k + 1 - 2 * (k % 2 == 0) for k in range(15, 33))]],
                    "true": spread}
    )  # fmt: skip
    assert len(found_only(perfect).frame) == len(perfect.frame)
    for part, found in landmark_swaps(perfect).items():
        assert not found.swapped[found.told].any(), part
    legs = landmark_swaps(mirrored)["legs"]
    assert legs.swapped[legs.told].all()
    for name, section in SECTIONS.items():
        rows = section([perfect, sample])
        assert rows, name
        assert all(isinstance(value, float) for _, value in rows), name


def test_scenes_are_made_once(body: BodyModel, tmp_path: Path) -> None:
    from dtsvibe_cli.training import synthesis

    made: list[int] = []

    class Counting(Studio):
        def people(self, seed: int, index: int) -> list[SeenPerson]:
            made.append(index)
            return []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthesis, "make_studio", lambda *_, **__: Counting(Director(_bank(), body)))
        assert synthesis.render_sequences(tmp_path, tmp_path / "out", scenes=2) == 0
        synthesis.render_sequences(tmp_path, tmp_path / "out", scenes=3)
    assert made == [0, 1, 2]


def test_an_empty_folder_of_places_says_what_to_do_before_motion_is_read(tmp_path: Path) -> None:
    motion, empty, out = tmp_path / "motion", tmp_path / "empty", tmp_path / "out"
    empty.mkdir()
    write_random_amc(motion, "walk", frames=300, seed=0)
    with pytest.raises(DataError, match="--collect"):
        render_sequences(motion, out, scenes=1, places=empty)
    assert not out.exists()
