"""From the bundled clip to batches, with the real pose network, detector and flow."""

import json
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from scipy.io import savemat
from torchvision.models import resnet50

from dtsvibe_cli.cli import main
from dtsvibe_cli.datatypes import Detections, Frame
from dtsvibe_cli.errors import ConfigError, WeightsError
from dtsvibe_cli.geometry.joints import BLAZEPOSE33, SMPL24
from dtsvibe_cli.models.config import LITE, PAPER
from dtsvibe_cli.smpl_files import load_body_model
from dtsvibe_cli.stages.flow import shrink_flow
from dtsvibe_cli.synthetic.truth import load_truth
from dtsvibe_cli.training.datasets import open_dataset
from dtsvibe_cli.training.datasets.joint_names import PENN13
from dtsvibe_cli.training.datasets.tracks import Recording
from dtsvibe_cli.training.observing import LabelledPerson, open_eyes
from dtsvibe_cli.training.prepare import Prepared, prepare
from dtsvibe_cli.training.sequence_bank import SequenceBank
from dtsvibe_cli.training.sequences import read_sequence, sequence_files
from dtsvibe_cli.video import read_frames

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
FIRST, LAST = 3, 22

INDEX = """
format = "dtsvibe-truth"
version = 1
[[sequence]]
name = "walk"
truth = "walk.npz"
video = "{video}"
"""


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some frames of the bundled clip in our own format."""
    folder = tmp_path_factory.mktemp("walk")
    truth = load_truth(EXAMPLES / "synthetic_walk_truth.npz")
    rows = slice(FIRST, LAST + 1)
    np.savez(
        folder / "walk.npz",
        joint_names=np.array(SMPL24),
        joints_cam=truth.joints_cam[None, rows],
        joints_px=truth.joints_px[None, rows],
        frame_index=np.arange(FIRST, LAST + 1),
        global_orient=truth.global_orient_rotmat[None, rows],
        body_pose=truth.body_pose_rotmat[None, rows],
        betas=truth.betas[None],
        transl=truth.transl[None, rows],
    )
    (folder / "truth.toml").write_text(INDEX.format(video=EXAMPLES / "synthetic_walk.mp4"))
    return folder


@pytest.fixture(scope="module")
def prepared(walk: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare("ours", walk, tmp_path_factory.mktemp("lite"), device="cpu")


def command(*args: object) -> Result:
    return CliRunner().invoke(main, ["prepare", *[str(arg) for arg in args]])


def test_landmarks_and_labels_of_a_clip_lie_on_each_other(prepared: Prepared) -> None:
    (path,) = prepared.written
    sequence = read_sequence(path)
    assert path.parts[-3:] == ("ours", "walk", "person0.npz")
    assert sequence.num_frames == LAST - FIRST + 1
    assert sequence.seen.all()
    assert sequence.has_smpl.all()
    assert (sequence.joints_m_weight == 1).all()
    assert prepared.minutes == pytest.approx(sequence.num_frames / 30 / 60)
    for name in ("left_elbow", "right_wrist", "left_knee", "right_ankle"):
        landmark = sequence.landmarks_crop[:, BLAZEPOSE33.index(name)]
        label = sequence.joints_crop[:, SMPL24.index(name)]
        assert np.median(np.linalg.norm(landmark - label, axis=-1)) < 0.06, name
    asked = (sequence.keypoints_crop[..., 2] > 0).any(1)
    np.testing.assert_array_equal(np.flatnonzero(asked), [0, 4, 8, 12, 16, 19])
    assert (sequence.flow[0] == 0).all()
    assert (np.abs(sequence.flow[1:].astype(float)).max((1, 2, 3)) > 0).all()


def test_labels_of_a_clip_are_its_truth_seen_from_ahead(prepared: Prepared) -> None:
    """Distances between joints are the same in every frame of reference."""
    truth = load_truth(EXAMPLES / "synthetic_walk_truth.npz")
    sequence = read_sequence(prepared.written[0])
    true = truth.joints_cam[FIRST : LAST + 1]

    def distances(joints: np.ndarray) -> np.ndarray:
        return np.linalg.norm(joints[:, :, None] - joints[:, None], axis=-1)

    np.testing.assert_allclose(distances(sequence.joints_m), distances(true), atol=1e-5)
    np.testing.assert_allclose(sequence.betas, truth.betas[:10], atol=1e-6)
    square = sequence.crops_cxcysa[:, None]
    pixels = sequence.joints_crop * square[..., 2:3] / 2 + square[..., :2]
    np.testing.assert_allclose(pixels, truth.joints_px[FIRST : LAST + 1], atol=0.01)


def test_prepared_sequences_are_trained_on(prepared: Prepared) -> None:
    files = sequence_files(prepared.report.parent)
    batch = SequenceBank(files, window=8).batch(4, 0)
    assert batch.valid.all()
    assert batch.flow.shape == (4, 8, 2, 32, 32)


def test_what_is_there_is_kept(walk: Path, prepared: Prepared) -> None:
    (path,) = prepared.written
    out, before = prepared.report.parent, path.stat().st_mtime_ns
    result = command("ours", walk, "--out", out, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "0 sequences written (0.0 minutes), 1 were there, 0 left out." in result.output
    assert path.stat().st_mtime_ns == before
    report = json.loads((out / "ours_train.json").read_text())
    assert report["kept"] == [str(path)]
    assert report["written"] == []


def test_another_configuration_needs_another_folder(
    walk: Path, prepared: Prepared, image_network: Path
) -> None:
    with pytest.raises(ConfigError, match="prepared for another configuration than 'paper'"):
        prepare(
            "ours",
            walk,
            prepared.report.parent,
            config="paper",
            image_network=image_network,
            device="cpu",
        )


@pytest.fixture(scope="module")
def image_network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ResNet-50 as SPIN's checkpoint holds it, with layers of its own beside."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("spin") / "spin.pt"
    own = {"fc1.weight": torch.zeros(2, 2)}
    torch.save({"model": {**resnet50().state_dict(), **own}, "epoch": 3}, path)
    return path


def test_the_paper_takes_pictures_and_fine_flow(
    walk: Path, prepared: Prepared, image_network: Path, tmp_path: Path
) -> None:
    result = command(
        "ours", walk, "--out", tmp_path, "--config", "paper", "--image-network", image_network,
        "--device", "cpu", "--quiet",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{tmp_path / 'ours_train.json'}\n"
    paper = read_sequence(sequence_files(tmp_path)[0])
    lite = read_sequence(prepared.written[0])
    assert paper.flow.shape == (lite.num_frames, 2, 224, 224)
    assert paper.appearance is not None
    assert paper.appearance.shape == (lite.num_frames, 2048)
    assert len(np.unique(paper.appearance, axis=0)) == lite.num_frames
    np.testing.assert_array_equal(paper.landmarks_crop, lite.landmarks_crop)
    # measured on larger crops, but the same motion
    coarse = shrink_flow(paper.flow[1:].astype(np.float32), 32)
    fine = cv2.blur(coarse[:, 0].transpose(1, 2, 0), (5, 5))
    kept = cv2.blur(lite.flow[1:, 0].astype(np.float32).transpose(1, 2, 0), (5, 5))
    assert np.corrcoef(fine.ravel(), kept.ravel())[0, 1] > 0.6
    assert 0.7 < fine.std() / kept.std() < 1.4


def test_an_image_network_is_given_where_one_is_used(tmp_path: Path) -> None:
    path = tmp_path / "some.pt"
    torch.save({"state_dict": {"conv1.weight": torch.zeros(3)}}, path)
    with pytest.raises(WeightsError, match="holds no ResNet-50"):
        open_eyes(PAPER, image_network=path)
    with pytest.raises(ConfigError, match="--image-network"):
        open_eyes(PAPER)
    with pytest.raises(ConfigError, match="uses no image network"):
        open_eyes(LITE, image_network=path)


def test_what_cannot_be_used_is_left_out_with_a_reason(walk: Path, tmp_path: Path) -> None:
    """One sequence too short, one without its video, one that is fine."""
    arrays = dict(np.load(walk / "walk.npz"))
    cut = {key: a[:, :6] for key, a in arrays.items() if a.ndim > 2}
    betas = {"betas": arrays["betas"], "joint_names": arrays["joint_names"]}
    np.savez(tmp_path / "walk.npz", **arrays)
    np.savez(tmp_path / "short.npz", **cut, **betas, frame_index=np.arange(6))
    entry = '[[sequence]]\nname = "{0}"\ntruth = "{1}.npz"\n{2}\n'
    video = f'video = "{EXAMPLES / "synthetic_walk.mp4"}"'
    index = INDEX.format(video=EXAMPLES / "synthetic_walk.mp4")
    index += entry.format("short", "short", video) + entry.format("unseen", "walk", "")
    index += entry.format("beyond the limit", "walk", video)
    (tmp_path / "truth.toml").write_text(index)
    out = tmp_path / "out"
    result = command("ours", tmp_path, "--out", out, "--device", "cpu", "--limit", 3)
    assert result.exit_code == 0, result.output
    assert "1 sequences written" in result.output
    assert "short/person0 is left out: the person is seen in 6 frames; 16 are" in result.output
    report = json.loads((out / "ours_train.json").read_text())
    assert [each["name"] for each in report["skipped"]] == ["short/person0", "unseen"]
    assert "has no video" in report["skipped"][1]["reason"]
    assert [path.parent.name for path in sequence_files(out)] == ["walk"]


def test_the_limit_counts_recordings_of_the_part(
    walk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Penn Action tells inside a recording to which part it belongs: another's is then empty."""
    (real,) = open_dataset("ours", walk)
    other = Recording(name="of the test part", read=lambda: iter(()))
    broken = Recording(name="beyond the limit", read=lambda: 1 / 0)  # type: ignore[arg-type]
    listed = [other, other, real, broken]
    monkeypatch.setattr("dtsvibe_cli.training.prepare.open_dataset", lambda *_: listed)
    prepared = prepare("ours", walk, tmp_path, limit=1, device="cpu")
    assert (len(prepared.written), prepared.skipped) == (1, ())


def test_labels_that_are_no_numbers_are_left_out(walk: Path, tmp_path: Path) -> None:
    arrays = dict(np.load(walk / "walk.npz"))
    np.savez(tmp_path / "walk.npz", **arrays)
    arrays["betas"] = np.full_like(arrays["betas"], np.nan)
    np.savez(tmp_path / "nan.npz", **arrays)
    video = EXAMPLES / "synthetic_walk.mp4"
    index = INDEX.format(video=video)
    index += f'[[sequence]]\nname = "nan"\ntruth = "nan.npz"\nvideo = "{video}"\n'
    (tmp_path / "truth.toml").write_text(index)
    prepared = prepare("ours", tmp_path, tmp_path / "out", device="cpu")
    assert len(prepared.written) == 1
    (skipped,) = prepared.skipped
    assert "finite" in skipped.reason


def test_when_nothing_can_be_used_that_is_an_error(walk: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "walk.npz", **np.load(walk / "walk.npz"))
    (tmp_path / "truth.toml").write_text(INDEX.replace('video = "{video}"', ""))
    result = command("ours", tmp_path, "--out", tmp_path / "out", "--device", "cpu")
    assert result.exit_code == 1
    assert "could be prepared (walk: walk has no video" in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (("coco", "."), "There is no data set 'coco': choose from 3dpw"),
        (("3dpw", "nowhere"), "There is no folder nowhere"),
        (("3dpw", ".", "--split", "validation"), "3DPW keeps its .pkl files there"),
        (("synthetic", EXAMPLES, "--config", "paper"), "give its ResNet-50 with --image-network"),
        (("synthetic", EXAMPLES, "--flow", "none.pth"), "no flow estimator and no file"),
        (("synthetic", EXAMPLES, "--body-model", "none.pkl"), "Cannot read the body model"),
    ],
)
def test_bad_input_is_one_sentence(
    args: tuple[object, ...], complaint: str, tmp_path: Path
) -> None:
    result = command(*args, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert complaint in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


def test_the_detectors_keypoints_are_those_of_the_labelled_person() -> None:
    boxes = np.array([[0.0, 0, 10, 20], [np.nan] * 4, [500, 500, 510, 520]])

    def detector(frame: Frame) -> Detections:
        return Detections(
            boxes_xyxy=np.array([[50.0, 0, 60, 20], [1, 0, 11, 20]]),
            scores=np.array([0.9, 0.4]),
            keypoints=np.stack([np.full((17, 3), 5.0), np.full((17, 3), 7.0)]),
        )

    person = LabelledPerson(detector, boxes)
    here, unknown, elsewhere = (
        person(Frame(index=k, rgb=np.zeros((4, 4, 3), np.uint8), pts=k, time_base=Fraction(1)))
        for k in range(3)
    )
    np.testing.assert_array_equal(here.boxes_xyxy, boxes[:1])
    assert here.keypoints is not None
    assert (here.keypoints == 7).all()
    assert here.scores[0] == 0.4
    assert len(unknown.boxes_xyxy) == 0
    assert elsewhere.keypoints is not None
    assert (elsewhere.keypoints == 0).all()


def test_labels_of_the_built_in_body_need_it() -> None:
    """The bundled truth says which body it is of; else betas would be fitted anew."""
    with np.load(EXAMPLES / "synthetic_walk_truth.npz") as file:
        meta = json.loads(str(file["meta"]))
    assert meta["body_model_sha256"] == load_body_model().sha256


def test_parts_that_do_not_train_have_a_folder_of_their_own(tmp_path: Path) -> None:
    """Penn Action's test part, with the bundled clip's frames as its pictures."""
    frames = tmp_path / "penn" / "frames" / "0007"
    frames.mkdir(parents=True)
    truth = load_truth(EXAMPLES / "synthetic_walk_truth.npz")
    count = 16
    video = read_frames(EXAMPLES / "synthetic_walk.mp4")
    for frame, _ in zip(video, range(count), strict=False):
        Image.fromarray(frame.rgb).save(frames / f"{frame.index + 1:06d}.jpg")
    points = np.zeros((count, 13, 2))
    for column, name in enumerate(PENN13):
        if name is not None:
            points[:, column] = truth.joints_px[:count, SMPL24.index(name)]
    shown = truth.joints_px[:count]
    labels = tmp_path / "penn" / "labels"
    labels.mkdir()
    savemat(
        labels / "0007.mat",
        {
            "x": points[..., 0],
            "y": points[..., 1],
            "visibility": np.ones((count, 13)),
            "bbox": np.concatenate([shown.min(1) - 10, shown.max(1) + 10], 1),
            "train": -1,
        },
    )
    out = tmp_path / "out"
    prepared = prepare("pennaction", tmp_path / "penn", out, split="test", device="cpu")
    assert prepared.report == out / "pennaction_test.json"
    assert prepared.written == (out / "test" / "pennaction" / "0007.npz",)
    sequence = read_sequence(prepared.written[0])
    assert not sequence.has_smpl.any()
    assert (sequence.joints_m_weight == 0).all()
    weighed = {SMPL24[joint] for joint in np.flatnonzero(sequence.joints_crop_weight.any(0))}
    assert weighed == {name for name in PENN13 if name is not None}
    landmark = sequence.landmarks_crop[:, BLAZEPOSE33.index("left_elbow")]
    label = sequence.joints_crop[:, SMPL24.index("left_elbow")]
    assert np.median(np.linalg.norm(landmark - label, axis=-1)) < 0.06
