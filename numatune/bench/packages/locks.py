"""The engine and numpy that belong to each Python: the newest pair that the package index offers for it.

onnxruntime stopped building for Python 3.9 at 1.19.2 and for 3.10 at 1.23.2. Results of different pairs are never
compared; every result records what it ran with, locked or not. `tools/lock_wheels.py` makes the table of hashes anew.
"""

from __future__ import annotations

OLDEST_PYTHON = (3, 9)

LOCKS: dict[tuple[int, int], dict[str, str]] = {
    (3, 9): {"onnxruntime": "1.19.2", "numpy": "2.0.2"},
    (3, 10): {"onnxruntime": "1.23.2", "numpy": "2.2.6"},
    (3, 11): {"onnxruntime": "1.32.0", "numpy": "2.4.6"},
}
"""Versions from a Python on, until the next entry."""

# A name and its hash together are longer than a line, which the formatter would make of them.
# fmt: off
WHEELS: dict[str, str] = {
    "numpy-2.0.2-cp39-cp39-manylinux_2_17_aarch64.manylinux2014_aarch64.whl":
    "1e795a8be3ddbac43274f18588329c72939870a16cae810c2b73461c40718ab1",
    "numpy-2.0.2-cp39-cp39-manylinux_2_17_x86_64.manylinux2014_x86_64.whl":
    "f26b258c385842546006213344c50655ff1555a9338e2e5e02a0756dc3e803dd",
    "numpy-2.2.6-cp310-cp310-manylinux_2_17_aarch64.manylinux2014_aarch64.whl":
    "efd28d4e9cd7d7a8d39074a4d44c63eda73401580c5c76acda2ce969e0a38e83",
    "numpy-2.2.6-cp310-cp310-manylinux_2_17_x86_64.manylinux2014_x86_64.whl":
    "fc7b73d02efb0e18c000e9ad8b83480dfcd5dfd11065997ed4c6747470ae8915",
    "numpy-2.4.6-cp311-cp311-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl":
    "0ab0a9c4ffb1a6d95ef519fe4247dba8eb6b18ad93999f76b7f657039acabd47",
    "numpy-2.4.6-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl":
    "89cd468399cfd2504718f0ba50e410dca55a170b61a02ad92bb18c8a65186e93",
    "numpy-2.4.6-cp312-cp312-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl":
    "5f9fb9157b4ce2971008323afe46053787b526ef624fea915b261468a8421a0f",
    "numpy-2.4.6-cp312-cp312-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl":
    "90f9849678c75fe7afa2d348ac842c168b0a4d3d61919687216dfc547976d853",
    "numpy-2.4.6-cp313-cp313-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl":
    "72fbe16c6fac95aedf5937fa873445cec2110be35d8a4e9433d7501fd98dae6b",
    "numpy-2.4.6-cp313-cp313-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl":
    "a7830bab239b79cda9c08c2da014761cafb48da6150e1da17ac06283f43b6089",
    "numpy-2.4.6-cp314-cp314-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl":
    "40fdc1ae7125e518ea98e53e69a4ebc27e1fd50510c47b7ea130cf21e5e1d42b",
    "numpy-2.4.6-cp314-cp314-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl":
    "a2c306dea656c12c68f51f4cea133cbe78ca7435eb28c735eac1d3ebe73be6e8",
    "onnxruntime-1.19.2-cp39-cp39-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl":
    "df2a94179a42d530b936f154615b54748239c2908ee44f0d722cb4df10670f68",
    "onnxruntime-1.19.2-cp39-cp39-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl":
    "fae4b4de45894b9ce7ae418c5484cbf0341db6813effec01bb2216091c52f7fb",
    "onnxruntime-1.23.2-cp310-cp310-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl":
    "8f7d1fe034090a1e371b7f3ca9d3ccae2fabae8c1d8844fb7371d1ea38e8e8d2",
    "onnxruntime-1.23.2-cp310-cp310-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl":
    "4ca88747e708e5c67337b0f65eed4b7d0dd70d22ac332038c9fc4635760018f7",
    "onnxruntime-1.32.0-cp311-cp311-manylinux_2_28_aarch64.whl":
    "2303372a85299b6757b0e11e1cbf13e410ddf7e10c37f4b37e99d1c90e7daf7c",
    "onnxruntime-1.32.0-cp311-cp311-manylinux_2_28_x86_64.whl":
    "5a34fc4dfeb5a7b4a74c95dcba1e773d722abda720b474edf1b0c419dc6d163d",
    "onnxruntime-1.32.0-cp312-cp312-manylinux_2_28_aarch64.whl":
    "e36c187006e7a7c8b8d6d57f1a209dd63f52430dca6c282b177718ad6b841054",
    "onnxruntime-1.32.0-cp312-cp312-manylinux_2_28_x86_64.whl":
    "99e1074c4b2197accd5073052a465361be17b89c093b8ffb6e6bd8f986c52df8",
    "onnxruntime-1.32.0-cp313-cp313-manylinux_2_28_aarch64.whl":
    "54d02baff2df38777b4c3cc7af326406fe8b8a48f54720f4c446d2d327920a79",
    "onnxruntime-1.32.0-cp313-cp313-manylinux_2_28_x86_64.whl":
    "02ea12a28c069ea8510093d95a7f6ff8126bfd9fc5c0d3381c03b80fb2b424ba",
    "onnxruntime-1.32.0-cp314-cp314-manylinux_2_28_aarch64.whl":
    "4135431395c1f37de0811f452c20a8b774f51812fda6c49611ed9899bbdbeeb4",
    "onnxruntime-1.32.0-cp314-cp314-manylinux_2_28_x86_64.whl":
    "48b878f9551d465aa79ee94ecaf49a1f6b5d27f2975efa775ded374db14d0af1",
}
# fmt: on
"""File name -> SHA-256 of each wheel that `numatune pack` fetches, as the package index has it."""


def lock_for(python: tuple[int, int]) -> dict[str, str]:
    """The versions for a Python such as (3, 12); empty for one older than any entry."""
    known = [version for version in LOCKS if version <= python]
    return dict(LOCKS[max(known)]) if known else {}
