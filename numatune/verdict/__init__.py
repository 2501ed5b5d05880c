"""Statistics on recorded runs, made on the controller: spikes, what came with them, whether a change removed them."""

from __future__ import annotations

SCHEMA = "numatune/compare/1"
"""The name of the format of `compare --format json`."""

DEFAULT_LIMIT = 3.0
"""Spikes per 1,000 inferences that are tolerable; a spike-free run of 1,000 iterations bounds the rate at 2.99."""
