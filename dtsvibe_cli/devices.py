"""Where networks run."""

import torch

from dtsvibe_cli.errors import ConfigError


def choose_device(name: str) -> str:
    """``auto`` is CUDA, else Apple's MPS, else the CPU.

    Raises:
        ConfigError: The machine has no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"This machine has no device '{name}': try --device cpu.") from error
    return name
