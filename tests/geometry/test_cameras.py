import math
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dtsvibe_cli.datatypes import PinholeCamera, VideoInfo
from dtsvibe_cli.errors import ConfigError
from dtsvibe_cli.geometry.cameras import (
    choose_camera,
    crop_camera_to_translation,
    project,
    ray_rotation,
    translation_to_crop_camera,
)

CAMERA = PinholeCamera(focal_length_px=900.0, center_px=(640.0, 360.0), source="option")


def video(focal_length_px: float | None = None) -> VideoInfo:
    return VideoInfo(
        path=Path("a.mp4"), width_px=1280, height_px=720, frame_rate=Fraction(25),
        focal_length_px=focal_length_px,
    )  # fmt: skip


def crops() -> Tensor:
    return torch.tensor(
        [[640.0, 360, 400], [100, 650, 250], [1250, 30, 90], [700, 300, 700]], dtype=torch.float64
    )


def test_the_crop_camera_survives_the_way_to_the_full_image_and_back() -> None:
    weak = torch.tensor(
        [[0.9, 0, 0], [0.7, 0.1, -0.2], [1.1, -0.05, 0.3], [0.4, 0.3, 0.2]], dtype=torch.float64
    )
    pelvis = crop_camera_to_translation(weak, crops(), CAMERA)
    torch.testing.assert_close(translation_to_crop_camera(pelvis, crops(), CAMERA), weak)


def test_a_person_in_the_middle_of_the_crop_lies_on_the_ray_through_its_centre() -> None:
    weak = torch.tensor([[0.9, 0.0, 0.0]], dtype=torch.float64).expand(4, 3)
    pelvis = crop_camera_to_translation(weak, crops(), CAMERA)
    seen = project(pelvis, CAMERA.focal_length_px, CAMERA.center_px)
    torch.testing.assert_close(seen, crops()[:, :2])


def test_depth_is_twice_the_focal_length_over_crop_side_and_scale() -> None:
    weak = torch.tensor([[0.5, 0.0, 0.0]], dtype=torch.float64)
    pelvis = crop_camera_to_translation(weak, crops()[:1], CAMERA)
    assert pelvis[0].tolist() == pytest.approx([0, 0, 2 * 900 / (400 * 0.5)])


@pytest.mark.parametrize("center", [(640.0, 360.0), (200.0, 600.0)])
def test_the_weak_projection_of_somebody_far_away_is_the_pinhole_projection(
    center: tuple[float, float],
) -> None:
    """Body points 60 m away: what perspective adds is below a hundredth of the body's height."""
    generator = torch.Generator().manual_seed(0)
    body = torch.randn(30, 3, generator=generator, dtype=torch.float64) * 0.5
    crop = torch.tensor([[*center, 40.0]], dtype=torch.float64)
    offset = (crop[:, :2] - torch.tensor(CAMERA.center_px)) / CAMERA.focal_length_px
    secant = float((1 + offset.square().sum()).sqrt())
    scale = 2 * CAMERA.focal_length_px * secant / (40.0 * 60.0)
    weak = torch.tensor([[scale, 0.2, -0.1]], dtype=torch.float64)

    in_crop = weak[0, 0] * (body[:, :2] + weak[0, 1:])
    turn = ray_rotation(crop[:, :2], CAMERA)[0]
    real = body @ turn.T + crop_camera_to_translation(weak, crop, CAMERA)
    pixels = project(real, CAMERA.focal_length_px, CAMERA.center_px)
    # the imagined camera's focal length holds for what it sees: undo the turn before comparing
    straight = project(real @ turn, CAMERA.focal_length_px * secant, (0.0, 0.0)) / 20.0
    assert float((straight - in_crop).abs().max()) < 0.02 * float(in_crop.abs().max())
    if center == CAMERA.center_px:
        torch.testing.assert_close((pixels - crop[:, :2]) / 20.0, straight)


def test_the_ray_rotation_turns_ahead_into_the_ray() -> None:
    ahead = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    rays = ray_rotation(crops()[:, :2], CAMERA) @ ahead
    expected = torch.cat(
        [(crops()[:, :2] - torch.tensor([640.0, 360.0])) / 900, torch.ones(4, 1)], -1
    ).double()
    torch.testing.assert_close(rays, torch.nn.functional.normalize(expected, dim=-1))
    torch.testing.assert_close(
        ray_rotation(crops()[:1, :2], CAMERA)[0], torch.eye(3, dtype=torch.float64)
    )


def test_points_behind_the_camera_are_kept_finite() -> None:
    seen = project(torch.tensor([[0.1, 0.0, -1.0], [0.1, 0.0, 0.0]]), 100.0, (0.0, 0.0))
    torch.testing.assert_close(seen, torch.tensor([[200.0, 0.0], [200.0, 0.0]]))


@pytest.mark.parametrize(
    ("option", "pixels"),
    [
        ("1200px", 1200.0),
        ("1200", 1200.0),
        (" 950.5 px ", 950.5),
        ("43.2666mm", math.hypot(1280, 720)),
        ("86.5332 mm", 2 * math.hypot(1280, 720)),
    ],
)
def test_the_focal_length_option(option: str, pixels: float) -> None:
    camera = choose_camera(video(focal_length_px=500.0), option)
    assert camera.focal_length_px == pytest.approx(pixels)
    assert camera.source == "option"
    assert camera.center_px == (640.0, 360.0)


@pytest.mark.parametrize("option", ["wide", "-50mm", "0", "35cm", "", "1e3px", "nan"])
def test_what_is_no_focal_length_is_refused(option: str) -> None:
    with pytest.raises(ConfigError, match="1200px or 35mm"):
        choose_camera(video(), option)


def test_without_an_option_the_files_own_focal_length_is_taken() -> None:
    camera = choose_camera(video(focal_length_px=777.0), None)
    assert (camera.focal_length_px, camera.source) == (777.0, "metadata")


def test_with_nothing_known_the_lens_is_a_35_mm_one() -> None:
    camera = choose_camera(video(), None)
    assert camera.source == "default"
    assert camera.focal_length_px == pytest.approx(35 / math.hypot(36, 24) * math.hypot(1280, 720))
