"""Runs a convolutional network that is described by data, in NCHW layout for any batch size."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dtsvibe_cli.errors import WeightsError
from dtsvibe_cli.models.graph import INPUT, Convolution, Graph, Operation
from dtsvibe_cli.models.onnx_network import OnnxNetwork
from dtsvibe_cli.models.replay import Replayed

Runner = Callable[[Tensor], tuple[Tensor, ...]]
"""Some of the outputs for a batch of pictures."""


class GraphNetwork(nn.Module):
    """Runs a :class:`Graph`. Its parameters are frozen, 32-bit until :meth:`lower_precision`.

    Where no gradient is wanted ONNX Runtime runs it on a CPU, and on CUDA it is replayed as CUDA
    graphs (:mod:`dtsvibe_cli.models.replay`).
    """

    def __init__(self, tensors: Mapping[str, Tensor], graph: Graph) -> None:
        super().__init__()
        _check(tensors, graph)
        self.graph = graph
        for name, tensor in tensors.items():
            values = tensor.to(torch.float32)
            if values.dim() == 4:
                values = values.contiguous(memory_format=torch.channels_last)
            self.register_parameter(name, nn.Parameter(values, requires_grad=False))
        self._plans: dict[tuple[str, ...], _Plan] = {}
        self._replays: dict[tuple[str, ...], Replayed] = {}
        self._onnx: dict[tuple[str, ...], OnnxNetwork] = {}
        self._dtype = torch.float32
        self._full: frozenset[str] = frozenset()

    @staticmethod
    def from_file(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> "GraphNetwork":
        """The network in a weights file, as :func:`dtsvibe_cli.weights.read_tensors` returns it.

        Raises:
            WeightsError: The file holds no graph, or one that its tensors do not fit.
        """
        return GraphNetwork(tensors, Graph.from_json(metadata.get("graph", {})))

    def lower_precision(self, dtype: torch.dtype, *, until: str | None = None) -> None:
        """Compute in another precision all but the heads, whose numbers may be pixels or metres.

        Args:
            dtype: The other precision.
            until: An output after which all is 32-bit again.
        """
        self._dtype, self._full = dtype, self.graph.final(until)
        for op in self.graph.operations:
            for name in () if op.output in self._full else op.parameter_names:
                parameter = self.get_parameter(name)
                parameter.data = parameter.data.to(dtype)
        self._forget_prepared()

    def forward(
        self, image: Float[Tensor, "batch channel height width"], outputs: Sequence[str]
    ) -> dict[str, Float[Tensor, "batch _ _ _"]]:
        """The named outputs, 32-bit; only the operations they need are run."""
        names = tuple(outputs)
        return dict(zip(names, self._runner(names, image)(image), strict=True))

    def _runner(self, outputs: tuple[str, ...], image: Tensor) -> Runner:
        """What computes the outputs fastest where the picture is."""
        if torch.is_grad_enabled():
            return partial(self._run, outputs)
        if image.is_cuda:
            if outputs not in self._replays:
                self._replays[outputs] = Replayed(partial(self._run, outputs))
            return self._replays[outputs]
        if image.is_cpu and self._dtype == torch.float32:
            if outputs not in self._onnx:
                weights = dict(self.named_parameters())
                self._onnx[outputs] = OnnxNetwork(self.graph.needed_for(outputs), weights)
            return self._onnx[outputs]
        return partial(self._run, outputs)

    def _run(
        self, outputs: tuple[str, ...], image: Float[Tensor, "batch channel height width"]
    ) -> tuple[Float[Tensor, "batch _ _ _"], ...]:
        """Operation by operation, by torch."""
        plan, weights = self._plan(outputs), dict(self.named_parameters())
        values = {INPUT: image.to(self._dtype).contiguous(memory_format=torch.channels_last)}
        for operation, not_needed in zip(plan.operations, plan.drop_after, strict=True):
            inputs = [values[name] for name in operation.inputs]
            if operation.output in self._full:
                inputs = [each.float() for each in inputs]
            values[operation.output] = operation.run(inputs, weights)
            for name in not_needed:
                del values[name]
        return tuple(values[plan.outputs[name]].float() for name in outputs)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Called by torch whenever the weights move: what was prepared is out of date."""
        self._forget_prepared()
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]

    def _forget_prepared(self) -> None:
        self._replays.clear()
        self._onnx.clear()

    def _plan(self, outputs: tuple[str, ...]) -> "_Plan":
        if outputs not in self._plans:
            self._plans[outputs] = _Plan.of(self.graph.needed_for(outputs))
        return self._plans[outputs]


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """How some outputs are computed."""

    operations: tuple[Operation, ...]
    drop_after: tuple[tuple[str, ...], ...]
    """For each operation the tensors that nobody reads again: big maps, dropped early."""
    outputs: dict[str, str]

    @staticmethod
    def of(graph: Graph) -> "_Plan":
        last_use = {name: step for step, op in enumerate(graph.operations) for name in op.inputs}
        last_use = {k: v for k, v in last_use.items() if k not in graph.outputs.values()}
        drop = [
            tuple(name for name in set(op.inputs) if last_use.get(name) == step)
            for step, op in enumerate(graph.operations)
        ]
        return _Plan(operations=graph.operations, drop_after=tuple(drop), outputs=graph.outputs)


def _check(tensors: Mapping[str, Tensor], graph: Graph) -> None:
    """Names are defined once and before use; the tensors are the graph's, in fitting shapes."""
    defined = {INPUT}
    for op in graph.operations:
        undefined = set(op.inputs) - defined
        if undefined or op.output in defined:
            raise _unfit(f"operation {op.output} is out of order")
        defined.add(op.output)
    if not set(graph.outputs.values()) <= defined:
        raise _unfit("an output is not computed")
    differing = graph.parameter_names ^ set(tensors)
    if differing:
        raise _unfit(f"tensors missing or not used: {', '.join(sorted(differing))}")
    for op in graph.operations:
        if isinstance(op, Convolution):
            weight, bias = tensors[op.weight], tensors[op.bias]
            if weight.dim() != 4 or bias.shape != weight.shape[:1] or len(weight) % op.groups:
                raise _unfit(f"tensor {op.weight} has a wrong shape {tuple(weight.shape)}")


def _unfit(reason: str) -> WeightsError:
    return WeightsError(
        f"A weights file does not fit its network ({reason}): run `dtsvibe weights verify`."
    )
