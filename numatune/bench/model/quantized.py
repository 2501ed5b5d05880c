"""INT8 weights, made on the host from the seeded float ones: byte for byte the same everywhere.

The quantisation is static: activations are unsigned 8-bit with one scale for each tensor, weights signed 8-bit and
symmetric with one scale for each output channel ("U8S8"), biases 32-bit. The scales of the activations were calibrated
once, when the graph was built, and are shipped in `graphs/<model>-int8.json`; those of the weights follow from the
weights. Only maximum, multiplication, division and rounding to even take part, which IEEE 754 defines to the last bit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from . import weights
from .architecture import Architecture

LARGEST = 127
"""-128 stays unused, so that the zero point is 0."""

Array = Any
Activation = tuple[float, int]
"""Scale and zero point: the real value of an 8-bit q is scale * (q - zero point)."""


def parse_activations(text: bytes) -> dict[str, Activation]:
    """The shipped table: tensor -> its scale and zero point."""
    return {name: (float(scale), int(zero)) for name, (scale, zero) in json.loads(text).items()}


def sources(network: Architecture) -> dict[str, str]:
    """Layer -> the activation that it reads; the max pool and the flattening keep the scale of what they are given."""
    found = {network.stem.name: "image"}
    flow = network.stem.name + ".relu"
    for block in network.blocks:
        found[block.reduce.name] = flow
        found[block.middle.name] = block.reduce.name + ".relu"
        found[block.expand.name] = block.middle.name + ".relu"
        if block.shortcut is not None:
            found[block.shortcut.name] = flow
        flow = block.name + ".relu"
    return {**found, "fc": "mean"}


def layout(network: Architecture) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """(name, numpy type, shape) of each tensor in the weights file, in file order."""
    for name, shape, _gain, fan_in in network.tensors():
        yield name, "<i1" if fan_in else "<i4", shape
        yield name + ".scale", "<f4", shape[:1]


def tensors(network: Architecture, activations: Mapping[str, Activation]) -> Iterator[tuple[str, Array]]:
    """(name, array) of each tensor in the order of `layout`; one layer of float weights is in memory at a time."""
    reads = sources(network)
    scales: Array = None
    for name, values in weights.tensors(network):
        layer, _dot, kind = name.rpartition(".")
        if kind == "weight":
            values, scales = quantise_weight(values)
            yield name, values
            yield name + ".scale", scales
        else:
            step = np.float32(activations[reads[layer]][0]) * scales
            yield name, np.rint(values / step).astype("<i4")
            yield name + ".scale", step


def quantise_weight(values: Array) -> tuple[Array, Array]:
    """8-bit weights and one float32 scale for each output channel (the first axis); `values` is used up."""
    rows = values.reshape(len(values), -1)
    scales = np.maximum(rows.max(axis=1), -rows.min(axis=1)) / np.float32(LARGEST)
    rows /= scales[:, None]
    np.rint(rows, out=rows)
    return rows.astype("<i1").reshape(values.shape), scales
