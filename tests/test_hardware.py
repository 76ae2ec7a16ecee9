import io

import av
import pytest

from dtsvibe_cli.video.hardware import (
    NVENC,
    SOFTWARE,
    EncoderChoice,
    _encoded,
    _encodes,
    choose_encoder,
    choose_hwaccel,
)

SIZE = (320, 240)


def test_the_cpu_encodes_with_x264() -> None:
    encoder = choose_encoder("cpu", SIZE, crf=20, preset="fast")
    assert encoder.name == SOFTWARE
    assert encoder.options.items() >= {"crf": "20", "preset": "fast"}.items()
    assert _encodes(encoder.name, tuple(encoder.options.items()), SIZE)
    assert choose_hwaccel("cpu") is None
    assert choose_hwaccel("mps") is None


def test_what_does_not_encode_is_not_trusted() -> None:
    assert _encodes(SOFTWARE, (("crf", "23"),), SIZE)
    assert not _encodes("h264_abacus", (), SIZE)
    assert not _encodes(SOFTWARE, (("preset", "nonsense"),), SIZE)
    assert not _encodes(SOFTWARE, (), (321, 240))  # odd


def test_whatever_is_chosen_for_cuda_works() -> None:
    """NVENC where there is one, else x264: the choice encodes, and so does nothing half-way."""
    chosen = choose_encoder("cuda:0", SIZE, crf=20)
    assert chosen.name in (NVENC, SOFTWARE)
    with av.open(io.BytesIO(_encoded(chosen, SIZE))) as video:
        assert sum(1 for _ in video.decode(video=0)) == 4
    video_file = io.BytesIO(_encoded(EncoderChoice(SOFTWARE, {}), SIZE))
    with av.open(video_file, hwaccel=choose_hwaccel("cuda:0")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 4


@pytest.mark.gpu
def test_nvdec_decodes() -> None:
    assert choose_hwaccel("cuda") is not None
