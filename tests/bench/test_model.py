"""The model is the one that the literature names: its counts, its graph, its weights, its answers."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from bench.reference import Reference, integers

from numatune.bench.errors import BenchError
from numatune.bench.model import cache as weight_cache
from numatune.bench.model.architecture import MODELS, architecture, check_size
from numatune.bench.model.engine import Session
from numatune.bench.model.expected import GRAPH_SHA256, WEIGHTS_SHA256
from numatune.bench.model.weights import image, images, signed_stream, tensors

ROOT = Path(__file__).parents[2]


def silent(_line: str) -> None:
    """Say nothing."""


def test_resnet152_counts() -> None:
    network = architecture("resnet152")
    assert network.parameters() == 60_192_808
    assert network.folded_floats() == 60_117_096
    assert network.multiply_adds(224) == 11_282_415_616
    assert len(list(network.convolutions())) == 155


def test_resnet50_counts() -> None:
    network = architecture("resnet50")
    assert network.parameters() == 25_557_032
    assert network.multiply_adds(224) == 3_857_973_248  # v1; v1.5 has 4,089,184,256
    assert len(list(network.convolutions())) == 53


def test_the_stride_sits_in_the_first_convolution_of_a_block() -> None:
    for block in architecture("resnet152").blocks:
        assert block.middle.stride == block.expand.stride == 1
        assert block.shortcut is None or block.shortcut.stride == block.reduce.stride


@pytest.mark.parametrize("size", [31, 0, -224, 5000])
def test_a_size_that_the_network_cannot_take_is_refused(size: int) -> None:
    with pytest.raises(BenchError, match="--size"):
        check_size(size)


def test_the_stream_does_not_depend_on_what_was_drawn_before() -> None:
    first = signed_stream("resnet50/stem.bias", 64)
    signed_stream("something else", 1000)
    assert np.array_equal(first, signed_stream("resnet50/stem.bias", 64))
    assert np.array_equal(first[:10], signed_stream("resnet50/stem.bias", 10))
    assert first.min() >= -(2**23)
    assert first.max() < 2**23


def test_the_stream_is_the_published_generator() -> None:
    """A numpy that drew other numbers would part this host from all others."""
    for name, count in (("resnet50/stem.bias", 64), ("resnet152/fc.bias", 7)):
        assert signed_stream(name, count).astype(int).tolist() == integers(name, count)


@pytest.mark.parametrize("model", MODELS)
def test_weights_hash_to_the_same_twice(model: str) -> None:
    hashes = set()
    for _ in range(2):
        digest = hashlib.sha256()
        for _name, values in tensors(architecture(model)):
            digest.update(values)
        hashes.add(digest.hexdigest())
    assert hashes == {WEIGHTS_SHA256[model]}


@pytest.mark.parametrize("model", MODELS)
def test_the_shipped_graph_is_what_the_architecture_gives(model: str) -> None:
    onnx = pytest.importorskip("onnx")
    tool = load_tool()
    shipped = weight_cache.shipped_graph(model)
    assert hashlib.sha256(shipped).hexdigest() == GRAPH_SHA256[model]
    assert shipped == tool.graph_bytes(model)
    graph = onnx.load_from_string(shipped).graph
    assert [shape.dim_param for shape in graph.input[0].type.tensor_type.shape.dim] == ["batch", "", "height", "width"]
    kinds = [node.op_type for node in graph.node]
    assert kinds.count("Conv") == len(list(architecture(model).convolutions()))
    assert kinds.count("Gemm") == 1
    assert sum(int(np.prod(tensor.dims)) for tensor in graph.initializer) == architecture(model).folded_floats()


@pytest.mark.parametrize("model", MODELS)
def test_the_engine_agrees_with_an_independent_implementation(model: str, own_cache: Path) -> None:
    size = 64
    session = Session(weight_cache.ensure_model(model, silent).graph_path, [0], image(size))
    got = session.infer()[0]
    reference = Reference(model)
    wanted = reference.logits(image(size)[0])
    assert reference.convolutions == len(list(architecture(model).convolutions()))
    assert np.abs(got - wanted).max() <= 2e-6 * np.abs(wanted).max()
    assert wanted.std() > 1.0  # an answer of zeros would agree with anything


def test_the_images_of_a_batch_are_answered_each_for_itself(own_cache: Path) -> None:
    model = weight_cache.ensure_model("resnet50", silent).graph_path
    together = Session(model, [0], images(3, 64)).infer()
    alone = Session(model, [0], images(3, 64)[2:]).infer()
    assert together.shape == (3, 1000)
    assert np.allclose(together[2], alone[0], rtol=0, atol=2e-6 * np.abs(alone).max())
    assert np.array_equal(images(3, 64)[:1], image(64))
    assert not np.allclose(together[0], together[1])


def load_tool() -> ModuleType:
    specification = importlib.util.spec_from_file_location("build_graph", ROOT / "tools/build_resnet_graph.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module
