"""A convolutional network described by data: the weights file brings its list of operations.

The networks converted from TFLite and TF.js are plain lists of convolutions, sums and resizings.
:class:`Graph` is that list, stored as JSON in the weights file's metadata; :class:`GraphNetwork`
runs it in NCHW layout for any batch size. The converters in :mod:`dtsvibe_cli.builders` write it.
"""

import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import dacite
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from dtsvibe_cli.errors import WeightsError
from dtsvibe_cli.models.packed_convolution import Activation, can_pack, pack_convolution
from dtsvibe_cli.models.replay import Replayed

Runner = Callable[..., Tensor]
"""An operation with its weights: takes the input tensors one by one."""

INPUT = "input"
"""Name of the network's only input in every graph."""


@dataclass(frozen=True, kw_only=True)
class Operation(ABC):
    """One step: named tensors in, one named tensor out."""

    inputs: tuple[str, ...]
    """Names of earlier outputs, or :data:`INPUT`."""
    output: str
    """Name of the result."""

    @abstractmethod
    def run(self, inputs: Sequence[Tensor], parameters: Mapping[str, Tensor]) -> Tensor:
        """The result for these inputs."""

    def prepare(self, inputs: Sequence[Tensor], parameters: Mapping[str, Tensor]) -> Runner:
        """For repeated inference on inputs like these; by default just :meth:`run`."""
        return lambda *values: self.run(values, parameters)

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of the weights it uses."""
        return ()


@dataclass(frozen=True, kw_only=True)
class Convolution(Operation):
    """2D convolution with bias, zero padding and a fused activation."""

    weight: str
    bias: str
    stride: tuple[int, int] = (1, 1)
    """Vertical, horizontal."""
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Left, right, top, bottom; TensorFlow pads unevenly when it strides."""
    groups: int = 1
    activation: Activation = "none"

    def run(self, inputs: Sequence[Tensor], parameters: Mapping[str, Tensor]) -> Tensor:
        """See :class:`Operation`."""
        left, right, top, bottom = self.padding
        (image,) = inputs
        even = left == right and top == bottom
        convolved = F.conv2d(
            image if even else F.pad(image, self.padding),
            parameters[self.weight],
            parameters[self.bias],
            stride=self.stride,
            padding=(top, left) if even else 0,
            groups=self.groups,
        )
        return _activate(convolved, self.activation)

    def prepare(self, inputs: Sequence[Tensor], parameters: Mapping[str, Tensor]) -> Runner:
        """See :class:`Operation`; on a CPU the weights are packed once."""
        weight, bias = parameters[self.weight], parameters[self.bias]
        left, right, top, bottom = self.padding
        if not (can_pack(weight) and left <= right and top <= bottom):
            return super().prepare(inputs, parameters)
        return pack_convolution(
            weight,
            bias,
            stride=self.stride,
            padding=self.padding,
            groups=self.groups,
            activation=self.activation,
        )

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Weight and bias."""
        return (self.weight, self.bias)


@dataclass(frozen=True, kw_only=True)
class Addition(Operation):
    """Sum of two tensors with a fused activation."""

    activation: Activation = "none"

    def run(self, inputs: Sequence[Tensor], parameters: Mapping[str, Tensor]) -> Tensor:
        """See :class:`Operation`."""
        first, second = inputs
        return _activate(first + second, self.activation)


@dataclass(frozen=True, kw_only=True)
class Doubling(Operation):
    """Bilinear resizing to twice the height and width, half-pixel centres."""

    def run(self, inputs: Sequence[Tensor], parameters: Mapping[str, Tensor]) -> Tensor:
        """See :class:`Operation`."""
        return F.interpolate(inputs[0], scale_factor=2, mode="bilinear", align_corners=False)


@dataclass(frozen=True, kw_only=True)
class MaxPooling(Operation):
    """Maximum over windows, without padding."""

    size: tuple[int, int]
    stride: tuple[int, int]

    def run(self, inputs: Sequence[Tensor], parameters: Mapping[str, Tensor]) -> Tensor:
        """See :class:`Operation`."""
        return F.max_pool2d(inputs[0], self.size, self.stride)


@dataclass(frozen=True, kw_only=True)
class Sigmoid(Operation):
    """Logistic function."""

    def run(self, inputs: Sequence[Tensor], parameters: Mapping[str, Tensor]) -> Tensor:
        """See :class:`Operation`."""
        return torch.sigmoid(inputs[0])


KINDS: dict[str, type[Operation]] = {
    "convolution": Convolution,
    "addition": Addition,
    "doubling": Doubling,
    "max_pooling": MaxPooling,
    "sigmoid": Sigmoid,
}


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Operations in running order and the tensors that leave the network."""

    operations: tuple[Operation, ...]
    outputs: dict[str, str]
    """For each output's name in our words, the tensor that is it."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values for a weights file's metadata."""
        names = {kind: name for name, kind in KINDS.items()}
        operations = [{"kind": names[type(op)], **dataclasses.asdict(op)} for op in self.operations]
        plain: dict[str, Any] = json.loads(
            json.dumps({"operations": operations, "outputs": self.outputs})
        )
        return plain

    @staticmethod
    def from_json(plain: Mapping[str, Any]) -> "Graph":
        """The graph that :meth:`to_json` wrote.

        Raises:
            WeightsError: It is not such a graph.
        """
        config = dacite.Config(strict=True, cast=[tuple])
        try:
            operations = tuple(
                dacite.from_dict(
                    KINDS[op["kind"]], {k: v for k, v in op.items() if k != "kind"}, config
                )
                for op in plain["operations"]
            )
            return Graph(operations=operations, outputs=dict(plain["outputs"]))
        except (KeyError, TypeError, ValueError, dacite.DaciteError) as error:
            raise WeightsError(
                f"A weights file holds no network graph that this version can run ({error!r}): "
                "run `dtsvibe weights verify`."
            ) from error

    def needed_for(self, outputs: Sequence[str]) -> "Graph":
        """The same graph with only these outputs and the operations they need."""
        chosen = {name: self.outputs[name] for name in outputs}
        needed = set(chosen.values())
        kept = []
        for op in reversed(self.operations):
            if op.output in needed:
                kept.append(op)
                needed.update(op.inputs)
        return Graph(operations=tuple(reversed(kept)), outputs=chosen)

    def final(self, start: str | None) -> frozenset[str]:
        """Results that no operation reads, and all that is made from the output named ``start``."""
        read = {name for op in self.operations for name in op.inputs}
        after: set[str] = set()
        for op in self.operations:
            if not after.isdisjoint(op.inputs) or (start and self.outputs[start] in op.inputs):
                after.add(op.output)
        return frozenset(op.output for op in self.operations if op.output not in read) | after

    @property
    def parameter_names(self) -> set[str]:
        """Names of all weights that the operations use."""
        return {name for op in self.operations for name in op.parameter_names}


class GraphNetwork(nn.Module):
    """Runs a :class:`Graph`. Its parameters are frozen, 32-bit until :meth:`lower_precision`.

    On CUDA it is replayed as CUDA graphs; see :mod:`dtsvibe_cli.models.replay`.
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
        self._runners: dict[str, Runner] = {}
        self._weights: dict[str, Tensor] = {}
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
        if image.is_cuda and not torch.is_grad_enabled():
            if names not in self._replays:
                self._replays[names] = Replayed(partial(self._run, names))
            values = self._replays[names](image)
        else:
            values = self._run(names, image)
        return dict(zip(names, values, strict=True))

    def _run(
        self, outputs: tuple[str, ...], image: Float[Tensor, "batch channel height width"]
    ) -> tuple[Float[Tensor, "batch _ _ _"], ...]:
        plan = self._plan(outputs)
        values = {INPUT: image.to(self._dtype).contiguous(memory_format=torch.channels_last)}
        for operation, not_needed in zip(plan.operations, plan.drop_after, strict=True):
            inputs = [values[name] for name in operation.inputs]
            if operation.output in self._full:
                inputs = [each.float() for each in inputs]
            values[operation.output] = self._runner(operation, inputs)(*inputs)
            for name in not_needed:
                del values[name]
        return tuple(values[plan.outputs[name]].float() for name in outputs)

    def _runner(self, operation: Operation, inputs: Sequence[Tensor]) -> Runner:
        """The operation, prepared once; what is prepared has no gradient."""
        if torch.is_grad_enabled():
            return lambda *values: operation.run(values, self._by_name())
        known = self._runners.get(operation.output)
        if known is None:
            known = self._runners[operation.output] = operation.prepare(inputs, self._by_name())
        return known

    def _by_name(self) -> dict[str, Tensor]:
        if not self._weights:
            self._weights = dict(self.named_parameters())
        return self._weights

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Called by torch whenever the weights move: what was prepared is out of date."""
        self._forget_prepared()
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]

    def _forget_prepared(self) -> None:
        self._replays.clear()
        self._runners.clear()
        self._weights.clear()

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


def _activate(values: Tensor, activation: Activation) -> Tensor:
    match activation:
        case "none":
            return values
        case "relu":
            return F.relu(values)
        case "relu6":
            return F.relu6(values)


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
