import pytest
import torch
import torch.nn.functional as F

from dtsvibe_cli.models.packed_convolution import MAX_SIZES, can_pack, pack_convolution

SIZES = ((8, 8), (16, 8), (8, 16), (24, 24), (8, 8), (40, 8), (24, 24))


@pytest.mark.skipif(not can_pack(torch.zeros(1, 1, 1, 1)), reason="PyTorch without oneDNN")
@pytest.mark.parametrize("groups", [1, 6])
def test_pictures_of_many_sizes_one_after_the_other(groups: int) -> None:
    torch.manual_seed(4)
    weight, bias = torch.randn(12, 6 // groups, 3, 3), torch.randn(12)
    packed = pack_convolution(
        weight, bias, stride=(2, 2), padding=(0, 1, 0, 1), groups=groups, activation="relu6"
    )
    assert len(set(SIZES)) > MAX_SIZES
    for size in SIZES:
        image = torch.randn(2, 6, *size).contiguous(memory_format=torch.channels_last)
        padded = F.pad(image, (0, 1, 0, 1))
        expected = F.conv2d(padded, weight, bias, stride=2, groups=groups).clamp(0, 6)
        with torch.inference_mode():
            torch.testing.assert_close(packed(image), expected, rtol=1e-4, atol=1e-4)
