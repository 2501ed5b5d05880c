"""Build the ONNX graphs that the package ships: run after a change of `numatune/bench/architecture.py`.

    python tools/build_resnet_graph.py            write numatune/bench/graphs/*.onnx and print the hashes
    python tools/build_resnet_graph.py --check    exit 1 when the shipped graphs differ

A graph holds no weights: every tensor is external data at its offset in `<model>.weights`, which
`numatune.bench.weights` makes on the host. Height and width are free dimensions that the engine fixes when it loads.
The hash of the weights is printed too; `numatune/bench/expected.py` holds both. Needs the package `onnx`.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
from pathlib import Path

import onnx
from onnx import TensorProto, helper

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from numatune.bench.architecture import MODELS, Architecture, Convolution, architecture  # noqa: E402  # after the path is set
from numatune.bench.weights import tensors  # noqa: E402  # after the path is set

# The oldest pair that every locked engine reads without a conversion: opset 17 came with IR version 8.
OPSET, IR_VERSION = 17, 8


def external_tensors(network: Architecture) -> list[onnx.TensorProto]:
    """Initializers without data: name, shape and place in the weights file."""
    result, offset = [], 0
    for name, shape, _gain, _fan_in in network.tensors():
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape)
        tensor.data_location = TensorProto.EXTERNAL
        length = 4 * math.prod(shape)
        place = {"location": f"{network.name}.weights", "offset": str(offset), "length": str(length)}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=value)
        result.append(tensor)
        offset += length
    return result


def convolve(nodes: list[onnx.NodeProto], convolution: Convolution, source: str) -> str:
    name = convolution.name
    nodes.append(
        helper.make_node(
            "Conv", [source, f"{name}.weight", f"{name}.bias"], [name], name=name,
            kernel_shape=[convolution.kernel] * 2, strides=[convolution.stride] * 2,
            pads=[convolution.padding] * 4,
        )
    )  # fmt: skip
    return name


def rectify(nodes: list[onnx.NodeProto], source: str) -> str:
    nodes.append(helper.make_node("Relu", [source], [f"{source}.relu"], name=f"{source}.relu"))
    return f"{source}.relu"


def build(network: Architecture) -> onnx.ModelProto:
    """The whole model: image (1, 3, height, width) in, logits (1, classes) out."""
    nodes: list[onnx.NodeProto] = []
    flow = rectify(nodes, convolve(nodes, network.stem, "image"))
    nodes.append(
        helper.make_node("MaxPool", [flow], ["pool"], name="pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    )
    flow = "pool"
    for block in network.blocks:
        bypass = flow if block.shortcut is None else convolve(nodes, block.shortcut, flow)
        flow = rectify(nodes, convolve(nodes, block.reduce, flow))
        flow = rectify(nodes, convolve(nodes, block.middle, flow))
        flow = convolve(nodes, block.expand, flow)
        nodes.append(helper.make_node("Add", [flow, bypass], [block.name], name=block.name))
        flow = rectify(nodes, block.name)
    nodes.append(helper.make_node("GlobalAveragePool", [flow], ["mean"], name="mean"))
    nodes.append(helper.make_node("Flatten", ["mean"], ["features"], name="features"))
    nodes.append(helper.make_node("Gemm", ["features", "fc.weight", "fc.bias"], ["logits"], name="fc", transB=1))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, "height", "width"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, network.classes])
    graph = helper.make_graph(nodes, network.name, [image], [logits], initializer=external_tensors(network))
    opset = helper.make_operatorsetid("", OPSET)
    return helper.make_model(graph, producer_name="numatune", ir_version=IR_VERSION, opset_imports=[opset])


def graph_bytes(model: str) -> bytes:
    """The serialised graph of `model`, the same bytes for the same architecture."""
    return bytes(build(architecture(model)).SerializeToString(deterministic=True))


def weights_hash(model: str) -> str:
    digest = hashlib.sha256()
    for _name, values in tensors(architecture(model)):
        digest.update(values.tobytes())
    return digest.hexdigest()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the shipped graphs, write nothing")
    arguments = parser.parse_args()
    stale = []
    for model in MODELS:
        path = ROOT / "numatune" / "bench" / "graphs" / f"{model}.onnx"
        content = graph_bytes(model)
        if arguments.check:
            if not path.exists() or path.read_bytes() != content:
                stale.append(path.name)
            continue
        path.write_bytes(content)
        print(f"{model}: {len(content)} bytes")
        print(f"  graph   {hashlib.sha256(content).hexdigest()}")
        print(f"  weights {weights_hash(model)}")
    if stale:
        print(f"not what the architecture gives: {', '.join(stale)}", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
