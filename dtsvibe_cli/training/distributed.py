"""Several processes that train one network, started by ``torchrun``; one process otherwise.

Each draws its own batches; PyTorch's DistributedDataParallel averages their gradients, so all keep
the same weights. Only the first writes files.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel


def num_processes() -> int:
    """How many train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def is_first() -> bool:
    """Whether this process writes the files."""
    return rank() == 0


@contextmanager
def process_group(device: str) -> Iterator[str]:
    """Join the processes that ``torchrun`` started; gives the device of this one.

    Without torchrun nothing happens and the device is the one given.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or distributed.is_initialized():
        yield device
        return
    if device == "cuda":
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield device
    finally:
        distributed.destroy_process_group()


@contextmanager
def first_goes_first() -> Iterator[None]:
    """The body runs in the first process, and then in the others: they find its files."""
    if num_processes() > 1 and not is_first():
        distributed.barrier()
    yield
    if num_processes() > 1 and is_first():
        distributed.barrier()


def parallel(module: nn.Module) -> nn.Module:
    """The module with gradients averaged over all processes; itself when there is only one."""
    return DistributedDataParallel(module) if num_processes() > 1 else module
