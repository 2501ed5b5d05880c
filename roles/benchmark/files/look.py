"""Which Python a target has, for what machine, and which of the benchmark's packages: JSON on stdout. It reads only."""
# A Python that is too old for the benchmark must be able to say so, back to 2.7.
# ruff: noqa: T201, UP031, PTH111, PTH118

import json
import os
import platform
import sys


def version_of(package):
    try:
        from importlib import metadata

        return metadata.version(package)
    except Exception:
        return None


def glibc():
    try:
        name, _space, version = os.confstr("CS_GNU_LIBC_VERSION").partition(" ")
        return version if name == "glibc" else None
    except (AttributeError, ValueError, OSError):
        return None


print(
    json.dumps(
        {
            "python": "%d.%d" % sys.version_info[:2],
            "executable": sys.executable,
            "implementation": platform.python_implementation(),
            "arch": platform.machine(),
            "glibc": glibc(),
            "root": os.geteuid() == 0,
            "cache_home": os.path.join(os.path.expanduser("~"), ".cache"),
            "packages": {name: version_of(name) for name in ("numpy", "onnxruntime")},
        }
    )
)
