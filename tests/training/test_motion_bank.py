from pathlib import Path

import numpy as np
import pytest
import torch
from motion_files import Bvh, write_random_amc
from recorded import clip
from synthetic import small_body

from dtsvibe_cli.errors import DataError
from dtsvibe_cli.geometry.rotations import rotmat_to_rotvec, rotvec_to_rotmat
from dtsvibe_cli.training import motion_bank
from dtsvibe_cli.training.motion_bank import RATE_HZ, Clip, MotionBank, load_bank

REST = small_body().joint_template.numpy()


def turning_clip(frames: int = 50) -> Clip:
    """Every joint turns by 0.02 radians about z and the root moves 1 cm along x a frame."""
    turn = torch.zeros(frames, 24, 3)
    turn[..., 2] = 0.02 * torch.arange(frames)[:, None]
    return Clip(
        name="turning",
        held_out=False,
        rotmats=rotvec_to_rotmat(turn),
        transl_m=torch.arange(frames)[:, None] * torch.tensor([0.01, 0, 0]),
    )


@pytest.mark.parametrize("step", [0.6, 1.0, 2.4])
def test_a_window_moves_on_by_its_step_between_recorded_frames(step: float) -> None:
    pose, transl = MotionBank(clips=(turning_clip(),)).window(np.random.default_rng(0), 16, step)
    assert pose.shape == (16, 24, 3, 3)
    torch.testing.assert_close(
        torch.diff(transl[:, 0]), torch.full((15,), 0.01 * step), atol=1e-6, rtol=0
    )
    turned = torch.diff(rotmat_to_rotvec(pose)[..., 2], dim=0)
    torch.testing.assert_close(turned, torch.full((15, 24), 0.02 * step), atol=1e-4, rtol=0)
    eye = torch.eye(3).expand_as(pose)
    torch.testing.assert_close(pose @ pose.transpose(-1, -2), eye, atol=1e-5, rtol=0)


def test_a_clip_shorter_than_the_window_holds_its_last_frame() -> None:
    _, transl = MotionBank(clips=(turning_clip(5),)).window(np.random.default_rng(0), 8, 1.0)
    torch.testing.assert_close(
        transl[:, 0], torch.tensor([0.0, 1, 2, 3, 4, 4, 4, 4]) * 0.01, atol=1e-6, rtol=0
    )


def test_windows_come_from_all_of_a_clip_and_from_all_clips() -> None:
    bank = MotionBank(clips=(turning_clip(50), turning_clip(300)))
    rng = np.random.default_rng(0)
    starts = torch.stack([bank.window(rng, 2, 1.0)[1][0, 0] for _ in range(300)]) * 100
    assert float(starts.min()) < 5
    assert float(starts.max()) > 280
    # by the square root of the length, 29 in 100 come from the short clip; by the length, 14
    assert 0.3 < float((starts < 50).float().mean()) < 0.6


def test_clips_are_trained_on_or_held_out() -> None:
    bank = MotionBank(clips=(clip("a"), clip("b", held_out=True), clip("c")))
    assert [c.name for c in bank.subset(held_out=False).clips] == ["a", "c"]
    assert [c.name for c in bank.subset(held_out=True).clips] == ["b"]
    assert bank.minutes == pytest.approx(600 / RATE_HZ / 60)


@pytest.mark.parametrize("held_out", [True, False])
def test_a_bank_without_one_of_the_two_says_what_to_do(held_out: bool) -> None:
    bank = MotionBank(clips=(clip(held_out=held_out),))
    with pytest.raises(DataError, match="named test"):
        bank.subset(held_out=not held_out)


def test_a_folder_is_read_once_and_again_when_its_files_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    motion, cache = tmp_path / "motion", tmp_path / "run" / "motion.npz"
    write_random_amc(motion / "s", "01_01", frames=12, seed=0)
    write_random_amc(motion / "s", "02_04", frames=8, seed=1)
    (motion / "test").mkdir()
    Bvh(frames=4).write(motion / "test" / "c.bvh")
    first = load_bank(motion, REST, cache)
    assert [(c.name, c.held_out, len(c.rotmats)) for c in first.clips] == [
        ("01_01", False, 6), ("02_04", True, 4), ("c", True, 4),
    ]  # fmt: skip

    with monkeypatch.context() as patch:
        patch.setattr(motion_bank, "read_motion", lambda *_: pytest.fail("read again"))
        again = load_bank(motion, REST, cache)
    for a, b in zip(first.clips, again.clips, strict=True):
        assert (a.name, a.held_out) == (b.name, b.held_out)
        assert torch.equal(a.rotmats, b.rotmats)
        assert torch.equal(a.transl_m, b.transl_m)

    write_random_amc(motion / "s", "01_02", frames=10, seed=2)
    assert [c.name for c in load_bank(motion, REST, cache).clips] == [
        "01_01",
        "01_02",
        "02_04",
        "c",
    ]


@pytest.mark.parametrize(
    ("name", "held_out"),
    [("02_04", True), ("005_13", True), ("05_13_poses", True), ("03_03_stageii", True),
     ("02_40", False), ("walk_02_04", False), ("02_04_other", False)],
)  # fmt: skip
def test_cmus_clips_are_known_by_any_of_their_names(
    tmp_path: Path, name: str, held_out: bool
) -> None:
    """AMASS has them too: whoever trains on it must not train on what is measured."""
    for each in (name, "07_01"):
        Bvh(frames=4).write(tmp_path / f"{each}.bvh")
    (tmp_path / "test").mkdir()
    Bvh(frames=4).write(tmp_path / "test" / "c.bvh")
    clips = {clip.name: clip.held_out for clip in load_bank(tmp_path, REST).clips}
    assert clips == {name: held_out, "07_01": False, "c": True}


def test_where_nothing_is_held_out_by_name_some_files_are(tmp_path: Path) -> None:
    for number in range(25):
        Bvh(frames=4).write(tmp_path / f"{number:02d}.bvh")
    clips = load_bank(tmp_path, REST).clips
    assert [clip.name for clip in clips if clip.held_out] == ["00", "20"]


def test_a_folder_without_motion_is_refused(tmp_path: Path) -> None:
    (tmp_path / "readme.md").write_text("nothing here")
    with pytest.raises(DataError, match=r"holds no \.amc, \.bvh"):
        load_bank(tmp_path, REST)
