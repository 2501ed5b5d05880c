"""The user's cache of generated weights, checked by hash before each run.

`$XDG_CACHE_HOME/numatune/bench/<model>-<first digits of the weights' hash>/` holds the weights and, beside them, the
graph: the engine looks for external data next to the graph and refuses a path that leaves its folder. The INT8 form of
a model is a model of its own here, `<model>-int8`.
"""

from __future__ import annotations

import hashlib
import os
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Callable

from ..errors import BenchError, reason
from ..files import replacing
from .architecture import Architecture, architecture
from .expected import ACTIVATIONS_SHA256, GRAPH_SHA256, WEIGHTS_SHA256

PRECISIONS = ("fp32", "int8")

_CHUNK = 1 << 20
_REMEDY = "free some space, or set XDG_CACHE_HOME to a folder with room"


@dataclass(frozen=True)
class CachedModel:
    """A graph with its weights beside it, both verified."""

    graph_path: str
    weights_path: str
    graph_sha256: str
    weights_sha256: str


def cache_folder() -> str:
    """The user's cache folder of numatune, whether it exists or not."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # the specification says that a relative value is ignored
        base = os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "numatune", "bench")


def shipped_graph(name: str) -> bytes:
    """The graph as packaged; `name` is a model, or its INT8 form such as "resnet50-int8"."""
    return _shipped(f"{name}.onnx", GRAPH_SHA256[name])


def shipped_activations(name: str) -> bytes:
    """The scales of the activations of an INT8 model, as packaged."""
    return _shipped(f"{name}.json", ACTIVATIONS_SHA256[name])


def _shipped(file: str, expected: str) -> bytes:
    """A file of `graphs/`; it is read through the import system, so a zipapp works too."""
    content = pkgutil.get_data(__package__, f"graphs/{file}")
    if content is None or hashlib.sha256(content).hexdigest() != expected:
        raise BenchError(f"the shipped {file} is damaged: reinstall numatune")
    return content


def ensure_model(model: str, say: Callable[[str], None], precision: str = "fp32") -> CachedModel:
    """`model` ready to load. Missing weights are made; damaged ones are made again, and `say` gets a line about it.

    Making them again is safe: the folder is numatune's own, a file in it is only ever replaced by a rename, and the
    content is a function of the seed. Weights that still do not match are an error: this host computes differently.
    """
    network = architecture(model)
    name = model if precision == "fp32" else f"{model}-{precision}"
    expected = WEIGHTS_SHA256[name]
    folder = os.path.join(cache_folder(), f"{name}-{expected[:16]}")
    graph_path = os.path.join(folder, name + ".onnx")
    weights_path = os.path.join(folder, name + ".weights")
    try:
        os.makedirs(folder, mode=0o755, exist_ok=True)
    except OSError as error:
        line = "cannot create the cache folder {}: {}; set XDG_CACHE_HOME to a folder that you can write"
        raise BenchError(line.format(folder, reason(error))) from error

    found = _hash_of(weights_path)
    if found != expected:
        size = f"{network.folded_floats() * (4 if precision == 'fp32' else 1) / 1e6:.0f} MB"
        if found:
            say(f"the cached weights {weights_path} are damaged; making them again ({size})")
        else:
            say(f"making the weights of {name} once ({size} in {folder})")
        _make_weights(network, name, weights_path)
    if _hash_of(graph_path) != GRAPH_SHA256[name]:
        with replacing(graph_path, _REMEDY) as file:
            file.write(shipped_graph(name))
    return CachedModel(graph_path, weights_path, GRAPH_SHA256[name], expected)


def _make_weights(network: Architecture, name: str, path: str) -> None:
    digest = hashlib.sha256()
    with replacing(path, _REMEDY) as file:
        for _name, values in _tensors(network, name):
            digest.update(values)
            file.write(values)
        if digest.hexdigest() != WEIGHTS_SHA256[name]:
            raise BenchError(
                f"the weights of {name} made on this host hash to {digest.hexdigest()[:12]}…, not "
                f"{WEIGHTS_SHA256[name][:12]}…: its numpy computes differently; install the one that "
                "numatune/bench/packages/locks.py names"
            )


def _tensors(network: Architecture, name: str) -> Iterator[tuple[str, Any]]:
    from . import quantized, weights  # numpy; only when weights have to be made

    if name == network.name:
        return weights.tensors(network)
    return quantized.tensors(network, quantized.parse_activations(shipped_activations(name)))


def _hash_of(path: str) -> str:
    """The SHA-256 of a file; empty where there is none."""
    digest = hashlib.sha256()
    buffer = bytearray(_CHUNK)
    view = memoryview(buffer)
    try:
        with open(path, "rb", buffering=0) as file:
            while True:
                count = file.readinto(buffer)
                if not count:
                    return digest.hexdigest()
                digest.update(view[:count])
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise BenchError(f"cannot read {path}: {reason(error)}; remove it and it is made again") from error
