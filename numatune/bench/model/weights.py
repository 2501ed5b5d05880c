"""Weights made from a seed, byte for byte the same on every host, in any order of tensors.

Each tensor has its own PCG64 stream, keyed by the SHA-256 of "seed/name". Raw 64-bit words are split into halves,
the upper 24 bits of each half become a signed integer that float32 holds exactly, and one float32 multiplication
scales it. No function that could differ from host to host (log, an array's sqrt, a ziggurat table) takes part.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from .architecture import Architecture

SEED = "numatune/resnet/1"
_HALF_RANGE = 1 << 23
_BIAS_BOUND = 0.1  # small, yet large enough that a bias wired to the wrong layer changes the logits

Array = Any  # numpy's generic array types do not exist in the numpy that Python 3.9 runs


def signed_stream(name: str, count: int, seed: str = SEED) -> Array:
    """`count` float32 integers in [-2**23, 2**23), uniform, from the stream of `name`."""
    key = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    generator = np.random.PCG64(0)
    generator.state = {
        "bit_generator": "PCG64",
        "state": {
            "state": int.from_bytes(key[:16], "little"),
            "inc": int.from_bytes(key[16:], "little") | 1,  # PCG's increment must be odd
        },
        "has_uint32": 0,
        "uinteger": 0,
    }
    words = generator.random_raw((count + 1) // 2).astype("<u8", copy=False).view("<u4")[:count]
    words >>= np.uint32(8)
    signed = words.view("<i4")
    signed -= np.int32(_HALF_RANGE)
    return signed.astype("<f4")


def scale(bound: float) -> np.float32:
    """The one constant that maps the signed stream to [-bound, bound)."""
    return np.float32(bound / _HALF_RANGE)


def bound_of(gain: float, fan_in: int) -> float:
    """He's uniform bound sqrt(6 / fan_in) times the folded batch-norm gain; a small fixed one for biases (fan_in 0)."""
    return gain * math.sqrt(6.0 / fan_in) if fan_in else _BIAS_BOUND


def tensors(network: Architecture, seed: str = SEED) -> Iterator[tuple[str, Array]]:
    """(name, float32 array) of every folded tensor of `network`, in file order."""
    for name, shape, gain, fan_in in network.tensors():
        values = signed_stream(network.name + "/" + name, math.prod(shape), seed)
        values *= scale(bound_of(gain, fan_in))
        yield name, values.reshape(shape)


def image(size: int, seed: str = SEED) -> Array:
    """The input: one image of shape (1, 3, size, size), float32, uniform with unit variance."""
    values = signed_stream(f"image/{size}", 3 * size * size, seed)
    values *= scale(math.sqrt(3.0))
    return values.reshape(1, 3, size, size)


def images(batch: int, size: int) -> Array:
    """`batch` different images of shape (batch, 3, size, size); the first is `image(size)`."""
    return np.concatenate([image(size, f"{SEED}/{index}" if index else SEED) for index in range(batch)])
