"""Functions of small tensors as CUDA graphs: hundreds of kernels started by one call.

A network of a hundred small convolutions takes a GPU less time than Python takes to start them.
A CUDA graph records the kernels once and starts them together; it works on the same memory each
time, so inputs are copied in and results out, and it is bound to the inputs' shapes.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor

_LOG = logging.getLogger(__name__)

BATCH_SIZES: Final = (1, 2, 4, 8, 16, 32)
"""Batches are filled up to one of these, larger ones are cut: few shapes, so few graphs."""

CAPTURE_FROM: Final = 3
"""How often a shape has to come before it is worth a graph; until then all runs as usual."""

MOST_GRAPHS: Final = 16
"""Further shapes run as usual: each graph holds memory for all that it computes."""

Function = Callable[..., tuple[Tensor, ...]]
"""Of tensors; the first axis of each argument and each result is the batch, its rows independent.

It must be free of choices that depend on values, and of copies from the CPU."""

_CAPTURING: Final = threading.Lock()

_Shape = tuple[tuple[torch.Size, torch.dtype], ...]


class Replayed:
    """The same function, replayed as a CUDA graph where that is possible.

    On other devices, and for a shape that cannot be captured, the function is called as it is.
    Results are new tensors. Not for use from two threads at once, nor where gradients are wanted.
    """

    def __init__(self, function: Function) -> None:
        self._function = function
        self._seen: Counter[_Shape] = Counter()
        self._graphs: dict[_Shape, _Graph | None] = {}

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The function's results for a batch of any size."""
        parts = [self._of_part(part) for part in zip(*map(_parts, inputs), strict=True)]
        if len(parts) == 1:
            return parts[0]
        return tuple(torch.cat(results) for results in zip(*parts, strict=True))

    def _of_part(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        num = len(inputs[0])
        size = next(size for size in BATCH_SIZES if size >= num)
        padded = [_padded(values, size) for values in inputs]
        shape = tuple((values.shape, values.dtype) for values in padded)
        self._seen[shape] += 1
        graph = self._graph(shape, padded)
        results = self._function(*padded) if graph is None else graph.replay(padded)
        return tuple(result[:num] for result in results)

    def _graph(self, shape: _Shape, inputs: Sequence[Tensor]) -> "_Graph | None":
        if not inputs[0].is_cuda or self._seen[shape] < CAPTURE_FROM:
            return None
        if shape not in self._graphs and len(self._graphs) < MOST_GRAPHS:
            try:
                self._graphs[shape] = _Graph(self._function, inputs)
            except RuntimeError as error:
                _LOG.info("No CUDA graph for %s (%s); it runs as usual.", shape, error)
                self._graphs[shape] = None
        return self._graphs.get(shape)


class _Graph:
    """One capture: fixed inputs, fixed results."""

    @torch.inference_mode()
    def __init__(self, function: Function, inputs: Sequence[Tensor]) -> None:
        self._inputs = [values.clone() for values in inputs]
        self._graph = torch.cuda.CUDAGraph()
        # what another thread computes meanwhile must not spoil the capture; captures take turns,
        # since torch has one stream for them
        capture = torch.cuda.graph(self._graph, capture_error_mode="thread_local")
        with _CAPTURING, torch.cuda.device(inputs[0].device), capture:
            self._results = function(*self._inputs)

    @torch.inference_mode()
    def replay(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The results for these inputs."""
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given)
        self._graph.replay()
        return tuple(result.clone() for result in self._results)


def _parts(values: Tensor) -> tuple[Tensor, ...]:
    parts: tuple[Tensor, ...] = values.split(BATCH_SIZES[-1])
    return parts


def _padded(values: Tensor, size: int) -> Tensor:
    """The batch filled up with its last row."""
    if len(values) == size:
        return values
    return torch.cat([values, values[-1:].expand(size - len(values), *values.shape[1:])])
