"""TF.js graph model (JSON and one binary) -> tensors and a graph that torch can run.

Covers convolutional bodies such as that of MoveNet; the decoding that follows the wanted outputs in
the original is not converted. Anything not covered is refused, never approximated.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from dtsvibe_cli.builders.tflite_converter import same_padding
from dtsvibe_cli.errors import WeightsError
from dtsvibe_cli.models.graph import (
    INPUT,
    Activation,
    Addition,
    Convolution,
    Doubling,
    Graph,
    Operation,
)

_CONVOLUTIONS = {
    "_FusedConv2D": False,
    "FusedDepthwiseConv2dNative": True,
    "DepthwiseConv2dNative": True,
}
"""Operators and whether they are depthwise."""


def convert_tfjs(
    model_path: Path, binary_path: Path, input_node: str, outputs: Mapping[str, str]
) -> tuple[dict[str, Tensor], Graph]:
    """Tensors (16-bit, as stored) and graph of the part of a TF.js model between named nodes.

    Args:
        model_path: The JSON file.
        binary_path: The weights.
        input_node: Node that becomes the network's input.
        outputs: For each wanted output's name in our words, the node that is it.

    Raises:
        WeightsError: The file holds something not covered, or lacks a node.
    """
    model = json.loads(model_path.read_text(encoding="utf-8"))
    nodes = {node["name"]: node for node in model["modelTopology"]["node"]}
    constants = _read_constants(model["weightsManifest"], binary_path)
    conversion = _Conversion(nodes, constants, names={input_node: INPUT})
    tensor_of = {name: conversion.visit(node) for name, node in outputs.items()}
    return conversion.tensors, Graph(operations=tuple(conversion.operations), outputs=tensor_of)


@dataclass
class _Conversion:
    """What has been visited so far, from the outputs upwards."""

    nodes: dict[str, dict[str, Any]]
    constants: dict[str, Shaped[np.ndarray, "..."]]
    names: dict[str, str]
    """Our tensor name of each visited node."""
    tensors: dict[str, Tensor] = field(default_factory=dict)
    operations: list[Operation] = field(default_factory=list)

    def visit(self, name: str) -> str:
        """Convert a node and all that it needs; its tensor's name."""
        if name in self.names:
            return self.names[name]
        if name not in self.nodes:
            _refuse(f"a model without the node {name}")
        node = self.nodes[name]
        kind = node["op"]
        sources = [source for source in node.get("input", ()) if not source.startswith("^")]
        attributes = {key: _attribute(value) for key, value in node.get("attr", {}).items()}
        operation: Operation
        if kind in _CONVOLUTIONS:
            image = self.visit(sources[0])
            output = self._new_name(name)
            operation = self._convolution(image, output, sources[1:], kind, attributes)
        elif kind == "AddV2":
            inputs = (self.visit(sources[0]), self.visit(sources[1]))
            operation = Addition(inputs=inputs, output=self._new_name(name))
        elif kind == "ResizeBilinear" and attributes["half_pixel_centers"]:
            # The size is computed in the graph from the input's; MoveNet's is always twice it.
            if "up_sampling2d" not in name or attributes["align_corners"]:
                _refuse("a resizing that is not an up-sampling layer")
            image = self.visit(sources[0])
            operation = Doubling(inputs=(image,), output=self._new_name(name))
        else:
            _refuse(f"operator {kind}")
        self.operations.append(operation)
        return operation.output

    def _new_name(self, node: str) -> str:
        self.names[node] = f"t{len(self.operations):03d}"
        return self.names[node]

    def _convolution(
        self,
        image: str,
        output: str,
        sources: list[str],
        kind: str,
        attributes: dict[str, Any],
    ) -> Convolution:
        depthwise = _CONVOLUTIONS[kind]
        fused = attributes.get("fused_ops", [])
        dilations = attributes.get("dilations", [1, 1, 1, 1])
        if attributes["data_format"] != "NHWC" or set(dilations) != {1}:
            _refuse("a convolution of another layout, or dilated")
        # TF stores HWIO, depthwise HWC1; torch wants OIHW.
        kernel = self.constants[sources[0]].transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1))
        if depthwise and kernel.shape[1] != 1:
            _refuse("depthwise convolution with a multiplier")
        has_bias = "BiasAdd" in fused
        bias = self.constants[sources[1]] if has_bias else np.zeros(len(kernel), np.float16)
        stride = (attributes["strides"][1], attributes["strides"][2])
        weight_name, bias_name = f"w{output[1:]}", f"b{output[1:]}"
        self.tensors[weight_name] = _to_half(kernel)
        self.tensors[bias_name] = _to_half(bias)
        return Convolution(
            inputs=(image,),
            output=output,
            weight=weight_name,
            bias=bias_name,
            stride=stride,
            padding=_padding(attributes, (kernel.shape[2], kernel.shape[3]), stride),
            groups=len(kernel) if depthwise else 1,
            activation=_activation(fused),
        )


def _padding(
    attributes: Mapping[str, Any], kernel: tuple[int, int], stride: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Left, right, top, bottom; every map's size is taken to be a multiple of the stride."""
    match attributes["padding"]:
        case "VALID":
            return (0, 0, 0, 0)
        case "SAME":
            top, bottom = same_padding(stride[0], kernel[0], stride[0])
            left, right = same_padding(stride[1], kernel[1], stride[1])
            return (left, right, top, bottom)
        case "EXPLICIT":
            _, _, top, bottom, left, right, _, _ = attributes["explicit_paddings"]
            return (left, right, top, bottom)
        case other:
            return _refuse(f"padding {other}")


def _activation(fused: list[str]) -> Activation:
    match [name for name in fused if name != "BiasAdd"]:
        case []:
            return "none"
        case ["Relu"]:
            return "relu"
        case ["Relu6"]:
            return "relu6"
        case others:
            return _refuse(f"fused operators {others}")


def _read_constants(
    manifest: list[dict[str, Any]], path: Path
) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Constants by node name, in the precision they are stored in."""
    content = path.read_bytes()
    offset = 0
    constants = {}
    for entry in (entry for group in manifest for entry in group["weights"]):
        stored = entry.get("quantization", {}).get("dtype", entry["dtype"])
        if stored not in ("float16", "float32", "int32"):
            _refuse(f"weights stored as {stored}")
        size = int(np.prod(entry["shape"]))
        values = np.frombuffer(content, np.dtype(stored), size, offset)
        constants[entry["name"]] = values.reshape(entry["shape"])
        offset += values.nbytes
    if offset != len(content):
        _refuse("a binary that is longer than its manifest")
    return constants


def _attribute(value: Mapping[str, Any]) -> Any:
    """A node attribute as a plain value; protobuf writes bytes in base64, integers as text."""
    match dict(value):
        case {"s": text}:
            return base64.b64decode(text).decode()
        case {"list": {"s": texts}}:
            return [base64.b64decode(text).decode() for text in texts]
        case {"list": {"i": numbers}}:
            return [int(number) for number in numbers]
        case {"list": {}}:
            return []
        case {"b": flag}:
            return bool(flag)
        case other:
            return other


def _to_half(values: Shaped[np.ndarray, "..."]) -> Tensor:
    if values.dtype != np.float16:
        _refuse("weights that are not stored in 16-bit precision")
    return torch.from_numpy(np.array(values, order="C"))


def _refuse(what: str) -> NoReturn:
    raise WeightsError(f"The TF.js converter does not cover {what}: build from the listed version.")
