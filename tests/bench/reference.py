"""An independent ResNet in numpy: its own loops over the paper's table, batch norm not folded, float64 arithmetic.

It shares nothing with `numatune.bench` but the definition of the weights' stream, which it implements again.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np

Array = Any
EPSILON = 1e-5
STAGES = {"resnet50": [3, 4, 6, 3], "resnet152": [3, 8, 36, 3]}


def pcg64(key: bytes, count: int) -> list[int]:
    """The first words of PCG64 (XSL-RR 128/64) in plain integers, from its published definition."""
    state = int.from_bytes(key[:16], "little")
    increment = int.from_bytes(key[16:], "little") | 1
    words = []
    for _ in range(count):
        state = (state * 0x2360ED051FC65DA44385DF649FCCF645 + increment) % 2**128
        folded = (state >> 64) ^ (state % 2**64)
        turn = state >> 122
        words.append(((folded >> turn) | (folded << (64 - turn))) % 2**64 if turn else folded)
    return words


def integers(name: str, count: int) -> list[int]:
    """The signed 24-bit integers of a tensor, one by one."""
    words = pcg64(hashlib.sha256(("numatune/resnet/1/" + name).encode()).digest(), (count + 1) // 2)
    return [(half >> 8) - 2**23 for word in words for half in (word % 2**32, word >> 32)][:count]


def uniform(name: str, count: int, bound: float) -> Array:
    """The same numbers from numpy's generator (plain integers would take minutes), scaled in float32."""
    key = hashlib.sha256(("numatune/resnet/1/" + name).encode()).digest()
    bits = np.random.PCG64(0)
    inner = {"state": int.from_bytes(key[:16], "little"), "inc": int.from_bytes(key[16:], "little") | 1}
    bits.state = {"bit_generator": "PCG64", "state": inner, "has_uint32": 0, "uinteger": 0}
    raw = bits.random_raw((count + 1) // 2)
    halves = np.stack([raw & np.uint64(0xFFFFFFFF), raw >> np.uint64(32)], axis=1).ravel()[:count]
    drawn = ((halves >> np.uint64(8)).astype(np.int64) - 2**23).astype(np.float32)
    return drawn * np.float32(bound / 2**23)


def convolve(x: Array, weight: Array, stride: int) -> Array:
    """x (channels, height, width), weight (outputs, inputs, k, k); padding k // 2; one matrix product."""
    k = weight.shape[2]
    padded = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (k, k), axis=(1, 2))[:, ::stride, ::stride]
    channels, height, width = windows.shape[:3]
    columns = windows.transpose(0, 3, 4, 1, 2).reshape(channels * k * k, height * width)
    return (weight.reshape(weight.shape[0], -1) @ columns).reshape(-1, height, width)


class Reference:
    """The forward pass; `convolutions` counts those that were applied."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.convolutions = 0

    def layer(self, x: Array, name: str, outputs: int, k: int, stride: int, gamma: float) -> Array:
        self.convolutions += 1
        inputs = x.shape[0]
        fan_in = inputs * k * k
        weight = uniform(f"{self.model}/{name}.weight", outputs * fan_in, math.sqrt(6 / fan_in)).astype(np.float64)
        beta = uniform(f"{self.model}/{name}.bias", outputs, 0.1).astype(np.float64)
        y = convolve(x, weight.reshape(outputs, inputs, k, k), stride)
        mean, variance = 0.0, 1.0 - EPSILON
        return gamma * (y - mean) / math.sqrt(variance + EPSILON) + beta[:, None, None]

    def logits(self, image: Array) -> Array:
        """Logits (1000,) of one image (3, size, size)."""
        x = np.maximum(self.layer(image.astype(np.float64), "stem", 64, 7, 2, 1.0), 0)
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
        x = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::2, ::2].max(axis=(3, 4))
        for stage, count in enumerate(STAGES[self.model]):
            for block in range(count):
                stride = 2 if block == 0 and stage > 0 else 1
                name = f"stage{stage + 1}.block{block + 1}"
                width = 64 * 2**stage
                y = np.maximum(self.layer(x, f"{name}.reduce", width, 1, stride, 1.0), 0)
                y = np.maximum(self.layer(y, f"{name}.middle", width, 3, 1, 1.0), 0)
                y = self.layer(y, f"{name}.expand", 4 * width, 1, 1, 0.25)
                bypass = self.layer(x, f"{name}.shortcut", 4 * width, 1, stride, 0.707) if block == 0 else x
                x = np.maximum(y + bypass, 0)
        features = x.mean(axis=(1, 2))
        weight = uniform(f"{self.model}/fc.weight", 1000 * 2048, math.sqrt(6 / 2048)).astype(np.float64)
        return weight.reshape(1000, 2048) @ features + uniform(f"{self.model}/fc.bias", 1000, 0.1)
