"""The recorder of the pinned ResNet: runs on a target with Python 3.9, numpy and onnxruntime, nothing else.

Importing the package imports neither numpy nor onnxruntime; `numatune.bench.recorder.record` does when it runs.
"""

from __future__ import annotations

SCHEMA = "numatune/bench/1"
"""The name of the result format that `numatune.bench.result.write_result` writes."""

DEFAULT_ITERATIONS = 1_000
"""The fewest iterations for a p99: a one-sided 95 % bound needs 299, and one spike-free run of 1,000 bounds the
spike rate below 3 per 1,000."""

QUICK_ITERATIONS = 100
"""Iterations of a provisional run: enough to see that spikes exist, never enough to say that they are gone."""
