import numpy as np
import pytest

from dtsvibe_cli.errors import DataError
from dtsvibe_cli.geometry.fitted_camera import fitted_camera

FOCAL_PX, CENTER_PX = 1100.0, (410.0, 300.0)


def test_the_camera_follows_from_points_in_space_and_in_the_picture() -> None:
    cam = np.random.default_rng(0).uniform((-1, -1, 3), (1, 1, 5), (3, 10, 3))
    pixels = cam[..., :2] / cam[..., 2:] * FOCAL_PX + CENTER_PX
    cam[0, 0], pixels[1, 1] = np.nan, np.nan
    camera = fitted_camera(cam, pixels)
    assert camera.focal_length_px == pytest.approx(FOCAL_PX)
    assert camera.center_px == pytest.approx(CENTER_PX)
    for bad in (np.full_like(cam, np.nan), -cam, np.ones_like(cam)):
        with pytest.raises(DataError, match="belong to no camera"):
            fitted_camera(bad, pixels)
