"""What a network's convolutions start from, and which of them are trained.

The paper starts V-CNN from a frame-based pose network and O-CNN from ImageNet. Prepared sequences
hold V-CNN's features, not pictures: its convolutions stay as they are, and only the layer after
them is trained. O-CNN is trained whole.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dtsvibe_cli.errors import WeightsError
from dtsvibe_cli.models.backbone import ResNet50Backbone
from dtsvibe_cli.models.dts_vibe import DtsVibe
from dtsvibe_cli.models.flow_encoder import ResNet50FlowEncoder


def freeze_convolutions(network: DtsVibe) -> DtsVibe:
    """The network, with V-CNN's convolutions out of training: they saw the pictures before."""
    if isinstance(network.v_cnn, ResNet50Backbone):
        network.v_cnn.cnn.requires_grad_(False)
    return network


def load_starts(network: DtsVibe, v_cnn: str, o_cnn: str) -> None:
    """Put given ResNet-50 weights into the streams that have one; ``""`` leaves a stream alone.

    ``v_cnn``: a file of the pose network whose features the sequences hold (SPIN's
    ``model_checkpoint.pt``, or any ResNet-50 with torchvision's names). ``o_cnn``: torchvision's
    ImageNet ResNet-50.

    Raises:
        WeightsError: A file is missing, or holds no ResNet-50.
    """
    file = v_cnn
    try:
        if v_cnn and isinstance(network.v_cnn, ResNet50Backbone):
            state = _resnet_state(v_cnn, set(network.v_cnn.cnn.state_dict()))
            network.v_cnn.cnn.load_state_dict(state)
        file = o_cnn
        if o_cnn and isinstance(network.o_cnn, ResNet50FlowEncoder):
            names = set(network.o_cnn.cnn.state_dict())
            network.o_cnn.load_imagenet(_resnet_state(o_cnn, names))
    except RuntimeError as error:
        raise WeightsError(f"{file} holds no ResNet-50: its layers have other sizes.") from error


def _resnet_state(file: str, names: set[str]) -> dict[str, Tensor]:
    """The ResNet's tensors among all that a file holds."""
    try:
        saved: Any = torch.load(Path(file), map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"{file} cannot be read: {error.strerror}.") from error
    except Exception as error:
        raise WeightsError(f"{file} is no PyTorch weights file.") from error
    for key in ("model", "state_dict"):
        saved = saved.get(key, saved) if isinstance(saved, dict) else saved
    state = {name: saved[name] for name in names if isinstance(saved, dict) and name in saved}
    missing = [name for name in names - set(state) if not name.endswith("num_batches_tracked")]
    if missing:
        raise WeightsError(f"{file} holds no ResNet-50: it lacks {min(missing)}.")
    return state | {name: torch.tensor(0) for name in names - set(state)}
