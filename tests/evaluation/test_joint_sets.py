from pathlib import Path

import numpy as np
import pytest
from synthetic import small_body
from truth_files import regressor_for

from dtsvibe_cli.errors import DataError
from dtsvibe_cli.evaluation.joint_sets import (
    H36M17,
    LSP14,
    LSP_SET,
    common_with_smpl,
    load_regressor,
)
from dtsvibe_cli.geometry.joints import SMPL24


def test_sets_are_named_for_what_they_are() -> None:
    assert common_with_smpl(SMPL24).title == "24 SMPL joints"
    assert common_with_smpl(H36M17).title == "12 limb joints of SMPL"
    assert common_with_smpl((*SMPL24[:20], "nose")).title == "20 of SMPL's 24 joints"
    assert LSP_SET.title == "14 LSP joints (H36M regressor)"
    assert LSP_SET.root_title == "middle of the hips"


def test_necks_and_heads_of_data_sets_are_not_smpls() -> None:
    assert not {"neck_lsp", "head_top"} & set(common_with_smpl(LSP14).names)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("left_knee", "right_knee", "left_ankle", "right_ankle"), "neither a pelvis nor both hip"),
        (("left_hip", "right_hip", "nose"), "shares only 2 joints"),
    ],
)
def test_truth_that_cannot_be_aligned(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        common_with_smpl(names)


def test_the_regressor_gives_lsps_joints(tmp_path: Path) -> None:
    body = small_body()
    path = tmp_path / "J_regressor_h36m.npy"
    matrix = regressor_for(body)
    np.save(path, matrix)
    rows = load_regressor(path, body.to("cpu"))
    assert rows.shape == (14, len(body.v_template))
    for row, name in zip(rows.numpy(), LSP14, strict=True):
        np.testing.assert_allclose(row, matrix[H36M17.index(name)], rtol=1e-6)


def test_a_regressor_of_another_order_or_mesh_is_refused(tmp_path: Path) -> None:
    body = small_body().to("cpu")
    path = tmp_path / "J_regressor_h36m.npy"
    mirrored = [H36M17.index(n.replace("left", "?").replace("right", "left").replace("?", "right"))
                for n in H36M17]  # fmt: skip
    np.save(path, regressor_for(body)[mirrored])
    with pytest.raises(DataError, match="another order"):
        load_regressor(path, body)
    np.save(path, np.zeros((17, 6890)))
    with pytest.raises(DataError, match="--body-model"):
        load_regressor(path, body)
    with pytest.raises(DataError, match=r"J_regressor_h36m.npy that SPIN and VIBE"):
        load_regressor(tmp_path / "nowhere.npy", body)
