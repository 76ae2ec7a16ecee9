"""OpenEXR pictures: what was written is read, in the right order of colours."""

from fractions import Fraction

import av
import numpy as np
import pytest

from dtsvibe_cli.errors import DataError
from dtsvibe_cli.video.exr import decode_exr


def test_colours_and_brightness_survive() -> None:
    light = np.random.default_rng(0).uniform(0, 30, (6, 8, 3)).astype(np.float32)
    frame = av.VideoFrame(8, 6, "gbrpf32le")
    for plane, channel in zip(frame.planes, (1, 2, 0), strict=True):
        rows = np.zeros((6, plane.line_size // 4), np.float32)
        rows[:, :8] = light[..., channel]
        plane.update(rows.tobytes())
    encoder = av.CodecContext.create("exr", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 8, 6, "gbrpf32le"
    encoder.time_base = Fraction(1, 25)
    content = b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
    np.testing.assert_allclose(decode_exr(content), light, rtol=1e-6)


def test_anything_else_is_refused() -> None:
    with pytest.raises(DataError, match="OpenEXR"):
        decode_exr(b"no picture at all")
