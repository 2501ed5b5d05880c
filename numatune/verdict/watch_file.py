"""A watch file, read and checked before anything is computed from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import VerdictError
from .other_files import WATCH_SCHEMA
from .run import LONGEST_NS, Samples, read_json


@dataclass(frozen=True)
class Watched:
    """One watch. `starts`, `lengths` and each counter have shape (windows,), ns and counts, NaN = not read.

    `ends` and `latency` are those of the requests, ns since the start of the watch, in the order of the ends; the
    mappings are the file's own objects.
    """

    path: str
    starts: Samples
    lengths: Samples
    counters: Mapping[str, Samples]
    ends: Samples
    latency: Samples
    data: Mapping[str, Any]

    @property
    def environment(self) -> Mapping[str, Any]:
        return _object(self.data, "environment")

    @property
    def target(self) -> Mapping[str, Any]:
        return _object(self.data, "target")

    @property
    def watching(self) -> Mapping[str, Any]:
        return _object(self.data, "watching")

    @property
    def log(self) -> Mapping[str, Any] | None:
        found = self.data.get("latency_log")
        return found if isinstance(found, dict) else None

    @property
    def host(self) -> Mapping[str, Any]:
        return _object(self.data, "run")

    @property
    def unavailable(self) -> Mapping[str, str]:
        return {str(name): str(why) for name, why in _object(self.data, "counters_unavailable").items()}

    @property
    def events(self) -> Sequence[Mapping[str, str]]:
        found = self.data.get("invalidating_events", [])
        return [event for event in found if isinstance(event, dict)] if isinstance(found, list) else []

    @property
    def seconds(self) -> float:
        return float(self.lengths.sum()) / 1e9


def load_watch(path: str) -> Watched:
    """The watch in `path`; VerdictError where it cannot be read, is cut, or is no such file."""
    return parse_watch(read_json(path, "watch file"), path)


def parse_watch(data: Any, path: str) -> Watched:
    """The watch that a decoded file describes."""
    if not isinstance(data, dict) or "schema" not in data:
        raise VerdictError(f'{path} is not a watch file: it has no "schema"; run `numatune watch -o FILE`')
    if data["schema"] != WATCH_SCHEMA:
        raise VerdictError(f"{path} has schema {data['schema']!r}, not {WATCH_SCHEMA!r}")
    windows, requests = data.get("windows"), data.get("requests", [])
    counters = windows.get("counters") if isinstance(windows, dict) else None
    if not isinstance(windows, dict) or not isinstance(counters, dict) or not isinstance(requests, list):
        raise VerdictError(f"{path} is damaged: windows, their counters or requests is missing")
    starts = _numbers(windows.get("start_offset_ns"), "windows.start_offset_ns", path)
    lengths = _numbers(windows.get("length_ns"), "windows.length_ns", path)
    if starts.size == 0 or starts.shape != lengths.shape or not np.all(np.diff(starts) >= 0) or not np.all(lengths > 0):
        raise VerdictError(f"{path} is damaged: its windows must follow each other, each with a start and a length")
    columns = {str(name): _numbers(values, f"windows.counters.{name}", path) for name, values in counters.items()}
    for name, values in columns.items():
        if values.shape != starts.shape:
            raise VerdictError(f"{path} is damaged: counter {name} has {values.size} entries, not {starts.size}")
        if np.nanmin(np.append(values, 0.0)) < 0.0:
            raise VerdictError(f"{path} is damaged: counter {name} fell, and counts only grow")
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in requests):
        raise VerdictError(f"{path} is damaged: requests must be pairs of an end and a latency")
    ends = _numbers([pair[0] for pair in requests], "requests", path)
    latency = _numbers([pair[1] for pair in requests], "requests", path)
    if np.isnan(ends).any() or not np.all((latency >= 1.0) & (latency <= LONGEST_NS)):
        raise VerdictError(f"{path} is damaged: requests must hold nanoseconds, latencies from 1 to {LONGEST_NS:g}")
    order = np.argsort(ends, kind="stable")
    return Watched(path, starts, lengths, columns, ends[order], latency[order], data)


def _object(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = data.get(name)
    return found if isinstance(found, dict) else {}


def _numbers(values: Any, name: str, path: str) -> Samples:
    """A list of numbers and nulls as floats, null as NaN."""
    if not isinstance(values, list):
        raise VerdictError(f"{path} is damaged: {name} must be a list of numbers")
    numbers = np.empty(len(values))
    for index, value in enumerate(values):
        try:
            fits = value is None or (type(value) in (int, float) and math.isfinite(value))
        except OverflowError:  # an integer of hundreds of digits
            fits = False
        if not fits:
            raise VerdictError(f"{path} is damaged: {name} holds something that is no number, or too large")
        numbers[index] = np.nan if value is None else float(value)
    return numbers
