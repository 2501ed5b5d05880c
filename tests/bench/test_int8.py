"""The INT8 form: its weights are the same everywhere, the engine runs it in integers, and it answers as FP32 does."""

from __future__ import annotations

import collections
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from bench.conftest import Start
from bench.test_command import ENDED, finish
from bench.test_model import load_tool, silent

from numatune.bench.cpus import instruction_sets
from numatune.bench.errors import BenchError
from numatune.bench.model import cache as weight_cache
from numatune.bench.model import quantized, weights
from numatune.bench.model.architecture import MODELS, architecture
from numatune.bench.model.engine import Session, import_engine
from numatune.bench.model.expected import GRAPH_SHA256, WEIGHTS_SHA256
from numatune.bench.recorder import VNNI

PRECISE = bool({*VNNI, "i8mm", "asimddp"} & {*instruction_sets()})
"""Elsewhere sums of 8-bit products may saturate, and the answer is less exact."""


def table(model: str) -> dict[str, quantized.Activation]:
    return quantized.parse_activations(weight_cache.shipped_activations(f"{model}-int8"))


def test_a_weight_is_rounded_to_the_nearest_step_of_its_channel() -> None:
    step = np.float32(2**-7)
    real = np.array([[-127, 0.5, 1.5, 63.4], [2, -127 / 4, 127 / 8, 1]], np.float32).reshape(2, 4, 1, 1) * step
    stored, scales = quantized.quantise_weight(real.copy())
    assert stored.dtype == np.int8
    assert stored.reshape(2, 4).tolist() == [[-127, 0, 2, 63], [8, -127, 64, 4]]  # a half goes to the even neighbour
    assert scales.dtype == np.float32
    assert scales.tolist() == [step, step / 4]


def test_a_bias_is_a_multiple_of_the_input_scale_times_the_weight_scale() -> None:
    network, activations = architecture("resnet50"), table("resnet50")
    found = {}
    for name, values in quantized.tensors(network, activations):
        if name.startswith("stage1.block1.middle."):
            found[name.rpartition("middle.")[2]] = values
        if name == "stage1.block1.middle.bias.scale":
            break
    step = np.float32(activations["stage1.block1.reduce.relu"][0]) * found["weight.scale"]
    assert np.array_equal(found["bias.scale"], step)
    real = next(values for name, values in weights.tensors(network) if name == "stage1.block1.middle.bias")
    assert found["bias"].dtype == np.int32
    assert np.all(np.abs(found["bias"] * step.astype(np.float64) - real) <= step * 0.5001)


@pytest.mark.parametrize("model", MODELS)
def test_the_weights_lie_as_the_layout_says_and_hash_to_the_same(model: str) -> None:
    network = architecture(model)
    digest = hashlib.sha256()
    said = quantized.layout(network)
    for name, values in quantized.tensors(network, table(model)):
        assert next(said) == (name, values.dtype.newbyteorder("<").str.replace("|", "<"), values.shape)
        digest.update(values.tobytes())
    assert next(said, None) is None
    assert digest.hexdigest() == WEIGHTS_SHA256[f"{model}-int8"]


@pytest.mark.parametrize("model", MODELS)
def test_the_shipped_graph_is_what_the_architecture_and_the_table_give(model: str) -> None:
    onnx = pytest.importorskip("onnx")
    shipped = weight_cache.shipped_graph(f"{model}-int8")
    assert hashlib.sha256(shipped).hexdigest() == GRAPH_SHA256[f"{model}-int8"]
    assert shipped == load_tool().graph_bytes(model, "int8")
    loaded = onnx.load_from_string(shipped)
    assert (loaded.opset_import[0].version, loaded.ir_version) == (17, 8)  # what the engine for Python 3.9 reads


def test_the_calibration_gives_about_the_shipped_table() -> None:
    """Not the same to the last digit: a float inference differs from machine to machine."""
    pytest.importorskip("onnx")
    made = quantized.parse_activations(load_tool().calibrate("resnet50"))
    for name, (scale, zero) in table("resnet50").items():
        assert made[name][0] == pytest.approx(scale, rel=1e-3)
        assert abs(made[name][1] - zero) <= 1


def test_the_engine_runs_it_in_integers(own_cache: Path, tmp_path: Path) -> None:
    """A convolution that is not fused would be computed in float, and the INT8 figures would mean nothing."""
    onnx = pytest.importorskip("onnx")
    engine = import_engine()
    model = weight_cache.ensure_model("resnet50", silent, "int8")
    options = engine.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    engine.InferenceSession(model.graph_path, sess_options=options, providers=["CPUExecutionProvider"])
    graph = onnx.load(tmp_path / "optimised.onnx", load_external_data=False).graph
    kinds = collections.Counter(node.op_type for node in graph.node)
    assert kinds["QLinearConv"] == 53
    assert kinds["QLinearAdd"] == 16
    assert kinds["QGemm"] == 1
    assert not {"Conv", "FusedConv", "Add", "Relu", "Gemm"} & {*kinds}
    assert kinds["DequantizeLinear"] <= 1


@pytest.mark.parametrize("model", MODELS)
def test_its_answer_is_that_of_fp32(model: str, own_cache: Path) -> None:
    """Measured with VNNI: 2.0 to 2.7 % of the logits' spread at 64 pixels, 1.0 % at 224."""
    given = weights.images(4, 64)
    exact = Session(weight_cache.ensure_model(model, silent).graph_path, [0], given).infer()
    rounded = Session(weight_cache.ensure_model(model, silent, "int8").graph_path, [0], given).infer()
    errors = np.sqrt(((rounded - exact) ** 2).mean(axis=1)) / exact.std(axis=1)
    assert errors.max() < (0.04 if PRECISE else 0.15)
    ordered = np.sort(exact, axis=1)
    lead = (ordered[:, -1] - ordered[:, -2]) / exact.std(axis=1)
    clear = lead > 4 * errors  # the seeded ResNet-50 all but ties on some images
    assert clear.sum() >= (4 if model == "resnet152" and PRECISE else 1)
    assert np.array_equal(rounded.argmax(axis=1)[clear], exact.argmax(axis=1)[clear])


def test_damaged_weights_are_made_again(own_cache: Path) -> None:
    said: list[str] = []
    model = weight_cache.ensure_model("resnet50", silent, "int8")
    with Path(model.weights_path).open("r+b") as file:
        file.write(b"broken")
    assert weight_cache.ensure_model("resnet50", said.append, "int8") == model
    assert len(said) == 1
    assert "damaged" in said[0]
    assert "26 MB" in said[0]
    assert hashlib.sha256(Path(model.weights_path).read_bytes()).hexdigest() == model.weights_sha256


def test_a_damaged_table_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(weight_cache.ACTIVATIONS_SHA256, "resnet50-int8", "0" * 64)
    with pytest.raises(BenchError, match=r"resnet50-int8\.json is damaged: reinstall numatune"):
        weight_cache.shipped_activations("resnet50-int8")


def test_a_run_says_what_it_ran(start: Start, tmp_path: Path) -> None:
    target = tmp_path / "run.json"
    words = "bench --model resnet50 --size 64 --precision int8 --batch 2 --threads 1 --iterations 10".split()
    code, out, err = finish(start(*words, "-o", str(target)))
    assert code in ENDED, err
    assert "resnet50 64×64 int8, 2 images at a time" in out
    environment = json.loads(target.read_text())["environment"]
    assert environment["precision"] == "int8"
    assert environment["batch"] == 2
    assert environment["cpu_flags"] == instruction_sets()
    assert environment["model"]["name"] == "resnet50"
    assert environment["model"]["graph_sha256"] == GRAPH_SHA256["resnet50-int8"]
    assert environment["model"]["weights_sha256"] == WEIGHTS_SHA256["resnet50-int8"]
