"""TFLite model file -> tensors and a graph that torch can run.

Covers float convolutional networks whose weights are stored dense in 16-bit precision, such as
MediaPipe's pose landmark networks; anything else is refused, never approximated. Needs the package
``tflite`` (extra ``build``), which only describes the file's layout.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from dtsvibe_cli.errors import WeightsError
from dtsvibe_cli.models.graph import (
    INPUT,
    Activation,
    Addition,
    Convolution,
    Doubling,
    Graph,
    MaxPooling,
    Operation,
    Sigmoid,
)

# Values of the schema's enumerations that occur here.
# https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema/schema.fbs
_DTYPES = {0: np.float32, 1: np.float16, 2: np.int32}
_ACTIVATIONS: dict[int, Activation] = {0: "none", 1: "relu", 3: "relu6"}
_SAME, _VALID = 0, 1


def convert_tflite(path: Path, outputs: Mapping[str, int]) -> tuple[dict[str, Tensor], Graph]:
    """Tensors (16-bit, lossless) and graph of a TFLite file.

    Args:
        path: The model file.
        outputs: For each wanted output's name in our words, the tensor's number in the file; what
            these do not need is left out.

    Raises:
        WeightsError: The package ``tflite`` is missing, or the file holds something not covered.
    """
    model = _read_model(path)
    conversion = _Conversion(model)
    for index in range(conversion.subgraph.OperatorsLength()):
        conversion.add(conversion.subgraph.Operators(index))
    tensor_of = {name: conversion.name_of(number) for name, number in outputs.items()}
    graph = Graph(operations=tuple(conversion.operations), outputs=tensor_of)
    graph = graph.needed_for(tuple(outputs))
    return {name: conversion.tensors[name] for name in graph.parameter_names}, graph


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME padding along one axis, before and after: the odd pixel goes after.

    >>> same_padding(8, 3, 2)
    (0, 1)
    """
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


@dataclass
class _Conversion:
    """What has been read so far."""

    model: Any
    constants: dict[int, Shaped[np.ndarray, "..."]] = field(default_factory=dict)
    """Constant tensors by number."""
    tensors: dict[str, Tensor] = field(default_factory=dict)
    operations: list[Operation] = field(default_factory=list)
    aliases: dict[int, int] = field(default_factory=dict)
    """Tensors that are another one under a second number (reshapes of 1x1 maps)."""
    pads: dict[int, tuple[int, tuple[int, int, int, int]]] = field(default_factory=dict)
    """Padded tensors: the unpadded one and (left, right, top, bottom); folded into convolutions."""

    def __post_init__(self) -> None:
        self.subgraph = self.model.Subgraphs(0)
        for number in range(self.subgraph.TensorsLength()):
            tensor = self.subgraph.Tensors(number)
            buffer = self.model.Buffers(tensor.Buffer())
            if buffer.DataLength():
                if tensor.Sparsity() is not None or tensor.Type() not in _DTYPES:
                    _refuse("a sparse or quantised tensor")
                values = buffer.DataAsNumpy().view(_DTYPES[tensor.Type()])
                self.constants[number] = values.reshape(self.shape(number))

    def shape(self, number: int) -> list[int]:
        """Shape of a tensor in the file's layout, NHWC."""
        tensor = self.subgraph.Tensors(number)
        return [int(tensor.Shape(axis)) for axis in range(tensor.ShapeLength())]

    def name_of(self, number: int) -> str:
        """Our name of an activation: the network's input, or ``t`` and the number in the file."""
        number = self.aliases.get(number, number)
        if number in self.pads:
            _refuse("padding in front of something else than a convolution")
        return INPUT if number == self.subgraph.Inputs(0) else f"t{number}"

    def add(self, operator: Any) -> None:
        """Convert one operator."""
        import tflite

        code = self.model.OperatorCodes(operator.OpcodeIndex())
        # Newer files keep codes above 126 in a second field; the larger of both counts.
        builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        source, target = int(operator.Inputs(0)), int(operator.Outputs(0))
        kinds = tflite.BuiltinOperator
        if builtin == kinds.DEQUANTIZE and source in self.constants:
            self.constants[target] = self.constants[source]
        elif builtin == kinds.CONV_2D:
            self._convolution(operator, _options(operator, tflite.Conv2DOptions), depthwise=False)
        elif builtin == kinds.DEPTHWISE_CONV_2D:
            options = _options(operator, tflite.DepthwiseConv2DOptions)
            self._convolution(operator, options, depthwise=True)
        elif builtin == kinds.ADD:
            options = _options(operator, tflite.AddOptions)
            activation = _activation(options)
            names = (self.name_of(source), self.name_of(int(operator.Inputs(1))))
            self._append(Addition(inputs=names, output=f"t{target}", activation=activation))
        elif builtin == kinds.PAD:
            (_, vertical, horizontal, channel) = self.constants[int(operator.Inputs(1))].tolist()
            if any(channel):
                _refuse("padding of channels")
            self.pads[target] = (source, (*horizontal, *vertical))
        elif builtin == kinds.RESIZE_BILINEAR:
            options = _options(operator, tflite.ResizeBilinearOptions)
            self._doubling(source, target, half_pixel=bool(options.HalfPixelCenters()))
        elif builtin == kinds.MAX_POOL_2D:
            self._max_pooling(source, target, _options(operator, tflite.Pool2DOptions))
        elif builtin == kinds.LOGISTIC:
            self._append(Sigmoid(inputs=(self.name_of(source),), output=f"t{target}"))
        elif builtin == kinds.RESHAPE and self.shape(source)[1:3] == [1, 1]:
            self.aliases[target] = source
        else:
            _refuse(f"operator {builtin}")

    def _append(self, operation: Operation) -> None:
        self.operations.append(operation)

    def _convolution(self, operator: Any, options: Any, *, depthwise: bool) -> None:
        source, weight, bias = (int(operator.Inputs(i)) for i in range(3))
        target = int(operator.Outputs(0))
        if (options.DilationHFactor(), options.DilationWFactor()) != (1, 1):
            _refuse("dilated convolution")
        _, height, width, channels = self.shape(source)
        # TFLite stores OHWI, depthwise 1HWO; torch wants OIHW.
        axes = (3, 0, 1, 2) if depthwise else (0, 3, 1, 2)
        kernel = self.constants[weight].transpose(axes)
        if depthwise and len(kernel) != channels:
            _refuse("depthwise convolution with a multiplier")
        strides = (options.StrideH(), options.StrideW())
        if options.Padding() == _SAME:
            padding = (
                *same_padding(width, kernel.shape[3], strides[1]),
                *same_padding(height, kernel.shape[2], strides[0]),
            )
        else:
            padding = (0, 0, 0, 0)
        if source in self.pads:
            source, extra = self.pads[source]
            padding = tuple(a + b for a, b in zip(padding, extra, strict=True))  # type: ignore[assignment]
        self.tensors[f"w{target}"] = _to_half(kernel)
        self.tensors[f"b{target}"] = _to_half(self.constants[bias])
        self._append(
            Convolution(
                inputs=(self.name_of(source),),
                output=f"t{target}",
                weight=f"w{target}",
                bias=f"b{target}",
                stride=strides,
                padding=padding,
                groups=channels if depthwise else 1,
                activation=_activation(options),
            )
        )

    def _doubling(self, source: int, target: int, *, half_pixel: bool) -> None:
        _, height, width, _ = self.shape(source)
        if self.shape(target)[1:3] != [2 * height, 2 * width] or not half_pixel:
            _refuse("a resizing that does not double with half-pixel centres")
        self._append(Doubling(inputs=(self.name_of(source),), output=f"t{target}"))

    def _max_pooling(self, source: int, target: int, options: Any) -> None:
        size = (options.FilterHeight(), options.FilterWidth())
        stride = (options.StrideH(), options.StrideW())
        _, *image, _ = self.shape(source)
        even = all(n % s == 0 and k == s for n, k, s in zip(image, size, stride, strict=True))
        if not (options.Padding() == _VALID or even) or _activation(options) != "none":
            _refuse("max pooling with padding or an activation")
        names = (self.name_of(source),)
        self._append(MaxPooling(inputs=names, output=f"t{target}", size=size, stride=stride))


def _read_model(path: Path) -> Any:
    try:
        import tflite
    except ModuleNotFoundError as error:
        raise WeightsError(
            "Rebuilding weights from TFLite needs the package tflite: "
            "run `pip install 'dtsvibe[build]'`."
        ) from error
    content = path.read_bytes()
    if content[4:8] != b"TFL3":
        raise WeightsError(f"{path} is no TFLite file: delete it and build again.")
    return tflite.Model.GetRootAsModel(content, 0)


def _options(operator: Any, kind: type[Any]) -> Any:
    """An operator's options as the class the schema has for them."""
    table = operator.BuiltinOptions()
    options = kind()
    options.Init(table.Bytes, table.Pos)
    return options


def _activation(options: Any) -> Activation:
    activation = _ACTIVATIONS.get(options.FusedActivationFunction())
    return activation if activation is not None else _refuse("an unknown fused activation")


def _to_half(values: Shaped[np.ndarray, "..."]) -> Tensor:
    """16-bit copy; refused where that would change a value."""
    half = values.astype(np.float16)
    if not np.array_equal(half.astype(np.float32), values.astype(np.float32)):
        _refuse("weights that 16-bit precision does not hold")
    return torch.from_numpy(np.ascontiguousarray(half))


def _refuse(what: str) -> NoReturn:
    raise WeightsError(
        f"The TFLite converter does not cover {what}: build from the listed version."
    )
