"""Build the ONNX graphs that the package ships: run after a change of `numatune/bench/model/architecture.py`.

    python tools/build_resnet_graph.py              write numatune/bench/model/graphs/*.onnx and print the hashes
    python tools/build_resnet_graph.py --calibrate  first measure the ranges of the activations again (minutes)
    python tools/build_resnet_graph.py --check      exit 1 when the shipped graphs differ

A graph holds no weights: every tensor is external data at its offset in `<model>.weights` or `<model>-int8.weights`,
which `numatune.bench` makes on the host. The batch, height and width are free dimensions that the engine fixes when it
loads. The hashes are printed; `numatune/bench/model/expected.py` holds them. Needs the packages `onnx` and
`onnxruntime`.

The INT8 graph wraps each operator in QuantizeLinear and DequantizeLinear, which engines fuse into integer operators.
Calibration writes `graphs/<model>-int8.json`, rounded to five digits, so that building from it gives the same bytes on
every machine, whereas a float inference differs from one to the next in its last bits.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).resolve().parent.parent
GRAPHS = ROOT / "numatune/bench/model/graphs"
sys.path.insert(0, str(ROOT))

from numatune.bench.model import peak, quantized, weights  # noqa: E402  # after the path is set
from numatune.bench.model.architecture import MODELS, Architecture, Convolution, architecture  # noqa: E402  # likewise
from numatune.bench.model.engine import import_engine  # noqa: E402  # likewise

# The oldest pair that every locked engine reads without a conversion: opset 17 came with IR version 8.
OPSET, IR_VERSION = 17, 8

TYPES = {"<f4": TensorProto.FLOAT, "<i4": TensorProto.INT32, "<i1": TensorProto.INT8}
CALIBRATION_SIZES = (224, 224, 224, 224, 64, 64, 64, 64)
"""The side of each calibration image; a small image has more border, and a result at 64 pixels must be right too."""


class Builder:
    """Nodes in the order in which they run; every method gives the name of the tensor that it made."""

    def __init__(self, network: Architecture) -> None:
        self.network = network
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def node(self, kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def activation(self, tensor: str, _like: str = "") -> str:
        """Called for each activation, before it is read."""
        return tensor

    def parameters(self, layer: str) -> list[str]:
        """Weight and bias of a layer, as it reads them."""
        return [f"{layer}.weight", f"{layer}.bias"]

    def convolve(self, convolution: Convolution, source: str) -> str:
        return self.node(
            "Conv", [source, *self.parameters(convolution.name)], convolution.name,
            kernel_shape=[convolution.kernel] * 2, strides=[convolution.stride] * 2, pads=[convolution.padding] * 4,
        )  # fmt: skip

    def rectify(self, source: str) -> str:
        return self.activation(self.node("Relu", [source], f"{source}.relu"))

    def layers(self) -> None:
        """image (batch, 3, height, width) to logits (batch, classes)."""
        network = self.network
        stem = self.convolve(network.stem, self.activation("image"))
        pool = self.node("MaxPool", [self.rectify(stem)], "pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
        flow = self.activation(pool, f"{stem}.relu")
        for block in network.blocks:
            bypass = flow if block.shortcut is None else self.activation(self.convolve(block.shortcut, flow))
            flow = self.rectify(self.convolve(block.reduce, flow))
            flow = self.rectify(self.convolve(block.middle, flow))
            flow = self.activation(self.convolve(block.expand, flow))
            flow = self.rectify(self.node("Add", [flow, bypass], block.name))
        mean = self.activation(self.node("GlobalAveragePool", [flow], "mean"))
        features = self.activation(self.node("Flatten", [mean], "features"), "mean")
        self.node("Gemm", [features, *self.parameters("fc")], "logits", transB=1)


class Quantizer(Builder):
    """The same network with 8-bit activations and weights."""

    def __init__(self, network: Architecture, table: Mapping[str, quantized.Activation]) -> None:
        super().__init__(network)
        self.table = table
        self.zeros: set[str] = set()

    def constant(self, name: str, value: Any) -> str:
        self.initializers.append(numpy_helper.from_array(value, name))
        return name

    def activation(self, tensor: str, like: str = "") -> str:
        """Round to 8 bits and back, with the scale of `like` where the operator only moves values."""
        scale, zero = self.table[like or tensor]
        name = f"{tensor}.quantized"
        how = [
            self.constant(f"{tensor}.scale", np.array(scale, np.float32)),
            self.constant(f"{tensor}.zero", np.array(zero, np.uint8)),
        ]
        return self.node("DequantizeLinear", [self.node("QuantizeLinear", [tensor, *how], name), *how], f"{name}.real")

    def parameters(self, layer: str) -> list[str]:
        return [self.parameter(f"{layer}.weight", np.int8), self.parameter(f"{layer}.bias", np.int32)]

    def parameter(self, name: str, kind: Any) -> str:
        shapes = {tensor: shape for tensor, _kind, shape in quantized.layout(self.network)}
        width = shapes[name][0]
        zeros = f"zeros.{np.dtype(kind).name}.{width}"
        if zeros not in self.zeros:
            self.zeros.add(self.constant(zeros, np.zeros(width, kind)))
        return self.node("DequantizeLinear", [name, f"{name}.scale", zeros], f"{name}.real", axis=0)


def external_tensors(location: str, layout: Iterable[tuple[str, str, tuple[int, ...]]]) -> list[onnx.TensorProto]:
    """Initializers without data: name, shape and place in the weights file."""
    result, offset = [], 0
    for name, kind, shape in layout:
        tensor = TensorProto(name=name, data_type=TYPES[kind], dims=shape)
        tensor.data_location = TensorProto.EXTERNAL
        length = np.dtype(kind).itemsize * math.prod(shape)
        for key, value in {"location": location, "offset": str(offset), "length": str(length)}.items():
            tensor.external_data.add(key=key, value=value)
        result.append(tensor)
        offset += length
    return result


def build(network: Architecture, table: Mapping[str, quantized.Activation] | None = None) -> onnx.ModelProto:
    """The whole model; with a table of activations it is the INT8 one."""
    if table is None:
        builder, name = Builder(network), network.name
        layout = [(tensor, "<f4", shape) for tensor, shape, _gain, _fan_in in network.tensors()]
    else:
        builder, name = Quantizer(network, table), f"{network.name}-int8"
        layout = list(quantized.layout(network))
    builder.layers()
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, "height", "width"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", network.classes])
    initializers = [*external_tensors(f"{name}.weights", layout), *builder.initializers]
    graph = helper.make_graph(builder.nodes, name, [image], [logits], initializer=initializers)
    opset = helper.make_operatorsetid("", OPSET)
    return helper.make_model(graph, producer_name="numatune", ir_version=IR_VERSION, opset_imports=[opset])


def roof_bytes() -> bytes:
    """3x3 convolutions in a row, large enough to keep every core busy; `numatune.bench.model.peak` times them.

    Their weights are one constant, which the engine spreads out when it loads: a mean of the neighbours, so that the
    values stay in range and never turn denormal.
    """
    shape = numpy_helper.from_array(np.array([peak.CHANNELS, peak.CHANNELS, 3, 3], np.int64), "shape")
    value = numpy_helper.from_array(np.array(1.0 / (9 * peak.CHANNELS), np.float32), "value")
    nodes, flow = [helper.make_node("Expand", ["value", "shape"], ["weight"], name="weight")], "image"
    for number in range(peak.CONVOLUTIONS):
        name = f"convolution{number}"
        nodes.append(helper.make_node("Conv", [flow, "weight"], [name], name=name, kernel_shape=[3, 3], pads=[1] * 4))
        flow = name
    dimensions = ["batch", peak.CHANNELS, "height", "width"]
    image, out = (helper.make_tensor_value_info(name, TensorProto.FLOAT, dimensions) for name in ("image", flow))
    graph = helper.make_graph(nodes, "roof", [image], [out], initializer=[shape, value])
    opset = helper.make_operatorsetid("", OPSET)
    made = helper.make_model(graph, producer_name="numatune", ir_version=IR_VERSION, opset_imports=[opset])
    return bytes(made.SerializeToString(deterministic=True))


def graph_bytes(model: str, precision: str = "fp32") -> bytes:
    """The serialised graph of `model`, the same bytes for the same architecture and table."""
    table = None
    if precision == "int8":
        table = quantized.parse_activations((GRAPHS / f"{model}-int8.json").read_bytes())
    return bytes(build(architecture(model), table).SerializeToString(deterministic=True))


def weights_hash(model: str, precision: str) -> str:
    digest = hashlib.sha256()
    network = architecture(model)
    if precision == "int8":
        tensors = quantized.tensors(network, quantized.parse_activations((GRAPHS / f"{model}-int8.json").read_bytes()))
    else:
        tensors = weights.tensors(network)
    for _name, values in tensors:
        digest.update(values.tobytes())
    return digest.hexdigest()


def calibrate(model: str) -> bytes:
    """Run the float graph on seeded images, and turn the range of each activation into a scale and a zero point."""
    network = architecture(model)
    made = build(network)
    wanted = [node.output[0] for node in made.graph.node if node.op_type not in ("MaxPool", "Flatten", "Gemm")]
    followed = {source for node in made.graph.node if node.op_type == "Relu" for source in node.input}
    wanted = [name for name in wanted if name not in followed]
    made.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in wanted)
    low, high = dict.fromkeys(("image", *wanted), 0.0), dict.fromkeys(("image", *wanted), 0.0)
    engine = import_engine()
    with tempfile.TemporaryDirectory() as folder:
        with (Path(folder) / f"{model}.weights").open("wb") as file:
            for _name, values in weights.tensors(network):
                file.write(values)
        path = Path(folder) / f"{model}.onnx"
        path.write_bytes(made.SerializeToString())
        session = engine.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        for number, size in enumerate(CALIBRATION_SIZES):
            image = weights.image(size, f"numatune/calibration/{number}")
            for name, values in zip(("image", *wanted), (image, *session.run(wanted, {"image": image})), strict=True):
                low[name], high[name] = min(low[name], float(values.min())), max(high[name], float(values.max()))
    lines = []
    for name in ("image", *wanted):
        scale = float(f"{(high[name] - low[name]) / 255:.5g}")
        lines.append(f"{json.dumps(name)}: [{scale}, {round(-low[name] / scale)}]")
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="compare with the shipped graphs, write nothing")
    what.add_argument("--calibrate", action="store_true", help="measure the ranges of the activations again")
    arguments = parser.parse_args()
    stale = []
    if arguments.check:
        stale += [] if (GRAPHS / "roof.onnx").read_bytes() == roof_bytes() else ["roof.onnx"]
    else:
        (GRAPHS / "roof.onnx").write_bytes(roof_bytes())
        print(f"roof: {len(roof_bytes())} bytes\n  graph       {hashlib.sha256(roof_bytes()).hexdigest()}")
    for model in MODELS:
        if arguments.calibrate:
            (GRAPHS / f"{model}-int8.json").write_bytes(calibrate(model))
        for precision in ("fp32", "int8"):
            name = model if precision == "fp32" else f"{model}-int8"
            path, content = GRAPHS / f"{name}.onnx", graph_bytes(model, precision)
            if arguments.check:
                if not path.exists() or path.read_bytes() != content:
                    stale.append(path.name)
                continue
            path.write_bytes(content)
            print(f"{name}: {len(content)} bytes")
            print(f"  graph       {hashlib.sha256(content).hexdigest()}")
            print(f"  weights     {weights_hash(model, precision)}")
            if precision == "int8":
                print(f"  activations {hashlib.sha256((GRAPHS / f'{name}.json').read_bytes()).hexdigest()}")
    if stale:
        print(f"not what the architecture gives: {', '.join(stale)}", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
