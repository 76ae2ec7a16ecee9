"""What a convolutional network computes, as data: a list of operations, kept in its weights file.

The networks converted from TFLite and TF.js are plain lists of convolutions, sums and resizings.
:class:`Graph` is that list, stored as JSON in the weights file's metadata. The converters in
:mod:`dtsvibe_cli.builders` write it; :mod:`dtsvibe_cli.models.graph_network` runs it.
"""

import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import dacite
import torch
import torch.nn.functional as F
from torch import Tensor

from dtsvibe_cli.errors import WeightsError

Activation = Literal["none", "relu", "relu6"]

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


def _activate(values: Tensor, activation: Activation) -> Tensor:
    match activation:
        case "none":
            return values
        case "relu":
            return F.relu(values)
        case "relu6":
            return F.relu6(values)
