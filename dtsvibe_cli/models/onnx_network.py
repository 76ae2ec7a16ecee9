"""A frozen convolutional network on a CPU: its :class:`Graph` run by ONNX Runtime.

It fuses activations and keeps weights and maps in the order that its kernels want, whatever the
size of the picture. On CPUs with AVX2 networks of many small convolutions gain most by that.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dtsvibe_cli.models.graph import (
    INPUT,
    Addition,
    Convolution,
    Doubling,
    Graph,
    MaxPooling,
    Operation,
    Sigmoid,
)

if TYPE_CHECKING:
    import onnx

_OPSET: Final = 17
_FILE_VERSION: Final = 9
"""Of the operators and of the file: old enough for any ONNX Runtime that we accept."""

PICTURES_AT_ONCE: Final = 2
"""Of a batch. Each takes as many threads as torch has, which is half of the cores where detection
and observation share them."""

_CONSTANTS: Final = {
    "constant.zero": np.array(0, np.float32),
    "constant.six": np.array(6, np.float32),
    "constant.twice": np.array([1, 1, 2, 2], np.float32),
}


class OnnxNetwork:
    """Runs a graph, for any size of picture and batch.

    It takes as many threads as torch has when it is made.

    Args:
        graph: What is computed; all of its outputs are.
        weights: By name, 32-bit, on the CPU.
    """

    def __init__(self, graph: Graph, weights: Mapping[str, Tensor]) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        # given beside the model: inside it they would be held several times over while it is read
        arrays = {name: weights[name].detach().numpy() for name in sorted(graph.parameter_names)}
        arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in arrays.values()]
        options.add_external_initializers(list(arrays), values)
        model = _model(graph, arrays).SerializeToString()
        self._session: Any = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )
        self._outputs = list(graph.outputs.values())
        self._pool = ThreadPoolExecutor(PICTURES_AT_ONCE, "dtsvibe onnx")

    def __call__(
        self, image: Float[Tensor, "batch channel height width"]
    ) -> tuple[Float[Tensor, "batch _ _ _"], ...]:
        """The graph's outputs, in its order."""
        # each by itself: together they are no quicker, and their maps would fill the memory
        pictures = image.split(1)
        results = [self._run(image)] if len(pictures) == 1 else self._pool.map(self._run, pictures)
        return tuple(
            torch.from_numpy(np.concatenate(parts)) for parts in zip(*results, strict=True)
        )

    def _run(
        self, picture: Float[Tensor, "batch channel height width"]
    ) -> list[Float[np.ndarray, "batch _ _ _"]]:
        results: list[np.ndarray] = self._session.run(
            self._outputs, {INPUT: picture.contiguous().numpy()}
        )
        return results


def _model(graph: Graph, weights: Mapping[str, Float[np.ndarray, "..."]]) -> "onnx.ModelProto":
    """The graph in ONNX's format, without its weights."""
    from onnx import TensorProto, helper, numpy_helper

    constants = [numpy_helper.from_array(array, name) for name, array in _CONSTANTS.items()]
    model: onnx.ModelProto = helper.make_model(
        helper.make_graph(
            [node for operation in graph.operations for node in _nodes(operation)],
            "network",
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", None, None, None])],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
                for name in graph.outputs.values()
            ],
            [*constants, *(_absent(name, array) for name, array in weights.items())],
        ),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_FILE_VERSION,
    )
    return model


def _absent(name: str, array: Float[np.ndarray, "..."]) -> "onnx.TensorProto":
    """A tensor whose numbers are said to be elsewhere."""
    from onnx import StringStringEntryProto, TensorProto

    where = {"location": "beside the model", "offset": "0", "length": str(array.nbytes)}
    return TensorProto(
        name=name,
        data_type=TensorProto.FLOAT,
        dims=array.shape,
        data_location=TensorProto.EXTERNAL,
        external_data=[
            StringStringEntryProto(key=key, value=value) for key, value in where.items()
        ],
    )


def _nodes(operation: Operation) -> "list[onnx.NodeProto]":
    """An operation, then its activation."""
    from onnx import helper

    inputs, output = list(operation.inputs), operation.output
    activation = getattr(operation, "activation", "none")
    result = output if activation == "none" else f"{output}.before"
    match operation:
        case Convolution():
            left, right, top, bottom = operation.padding
            node = helper.make_node(
                "Conv",
                [*inputs, operation.weight, operation.bias],
                [result],
                strides=operation.stride,
                pads=[top, left, bottom, right],
                group=operation.groups,
            )
        case Addition():
            node = helper.make_node("Add", inputs, [result])
        case Doubling():
            node = helper.make_node(
                "Resize",
                [*inputs, "", "constant.twice"],
                [result],
                mode="linear",
                coordinate_transformation_mode="half_pixel",
            )
        case MaxPooling():
            node = helper.make_node(
                "MaxPool",
                inputs,
                [result],
                kernel_shape=operation.size,
                strides=operation.stride,
            )
        case Sigmoid():
            node = helper.make_node("Sigmoid", inputs, [result])
        case _:
            raise NotImplementedError(f"{type(operation).__name__} has no counterpart in ONNX")
    match activation:
        case "relu":
            return [node, helper.make_node("Relu", [result], [output])]
        case "relu6":
            limits = ["constant.zero", "constant.six"]
            return [node, helper.make_node("Clip", [result, *limits], [output])]
    return [node]
