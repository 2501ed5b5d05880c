"""ONNX Runtime: load a graph for one image size with each thread on its CPU, and run it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Union

from ..errors import BenchError
from ..packages.optional import import_numpy, missing

AFFINITIES = "session.intra_op_thread_affinities"


def import_engine() -> Any:
    """The onnxruntime module, silenced: no telemetry, no second thread pool in numpy's BLAS.

    From 1.29 on, the Linux wheels send usage data from a background thread unless this variable is set before the
    import. A benchmark neither reports its user's models nor measures an uploader. (The variable has two names in
    the engine's history.)
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = os.environ["ORT_TELEMETRY_DISABLED"] = "1"
    import_numpy()
    try:
        import onnxruntime
    except ImportError as error:
        raise missing(error, "onnxruntime") from error
    return onnxruntime


def affinity_groups(cpus: Sequence[int]) -> str:
    """The engine's own notation: one group per worker, 1-based; the calling thread (cpus[0]) pins itself."""
    return ";".join(str(cpu + 1) for cpu in cpus[1:])


def engine_options(cpus: Sequence[int]) -> dict[str, Any]:
    """What the session is told, for the record."""
    return {
        "intra_op_num_threads": len(cpus),
        "inter_op_num_threads": 1,
        "execution_mode": "sequential",
        "graph_optimization_level": "all",
        AFFINITIES: affinity_groups(cpus),
    }


class Session:
    """A loaded model and its input, of shape (batch, channels, height, width); `infer` gives its first output.

    For a ResNet, `images` has 3 channels and the output is the logits, of shape (batch, 1000).
    """

    def __init__(self, graph: Union[str, bytes], cpus: Sequence[int], images: Any) -> None:
        """`graph` is the path of a graph, or a graph that needs no file beside it."""
        engine = import_engine()
        options = engine.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = len(cpus)
        options.inter_op_num_threads = 1
        options.execution_mode = engine.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = engine.GraphOptimizationLevel.ORT_ENABLE_ALL
        # Fixed dimensions let the engine plan all memory before the first run.
        batch, _channels, height, width = images.shape
        for name, length in (("batch", batch), ("height", height), ("width", width)):
            options.add_free_dimension_override_by_name(name, length)
        if len(cpus) > 1:
            options.add_session_config_entry(AFFINITIES, affinity_groups(cpus))
        try:
            self._session = engine.InferenceSession(graph, sess_options=options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the engine's exceptions share no base class of their own
            what = graph if isinstance(graph, str) else "a shipped graph"
            raise BenchError(f"onnxruntime {engine.__version__} cannot load {what}: {error}") from error
        self._feed = {"image": images}
        self._names: list[str] = [self._session.get_outputs()[0].name]

    def infer(self) -> Any:
        return self._session.run(self._names, self._feed)[0]
