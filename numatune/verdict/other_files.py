"""What a file is that holds no run: which of numatune's own, and which command takes it."""

from __future__ import annotations

WATCH_SCHEMA = "numatune/watch/1"

_ITS_FILE = "name the file that its -o wrote"
_ITS_RESULTS = "name the results that it was made of"
_NOBODY = "no command takes it"
_PRINTED = (
    ("bench-summary", "bench", _ITS_FILE),
    ("bench-summaries", "bench", _ITS_FILE),
    ("watch-summary", "watch", _ITS_FILE),
    ("show", "show", _ITS_RESULTS),
    ("compare", "compare", _ITS_RESULTS),
    ("settings", "settings", _NOBODY),
    ("setting", "explain", _NOBODY),
    ("pack", "pack", _NOBODY),
)
_SCHEMAS = {
    WATCH_SCHEMA: "a watch: `numatune compare` takes watches on both sides, `numatune show FILE` and `numatune report "
    "FILE` show it",
    "numatune/audit/1": "an audit: `numatune report --audit` takes it beside a run",
    "numatune/plan/1": "a plan: `numatune plan --retry-failed` asks again what failed in it, no other command takes it",
    "numatune/run/1": "the mark of a run of tune.yml: `numatune audit` of that host reads it",
    **{f"numatune/journal/{version}": "a host's journal: `revert.yml` reads it there" for version in (1, 2, 3)},
    **{f"numatune/{name}/1": f"what `{command} --format json` printed: {said}" for name, command, said in _PRINTED},
}
# What numatune writes and is no JSON, by how it begins.
_BEGINNINGS = {
    b"\x1f\x8b": "packed, as a snapshot is: `numatune audit --snapshot FILE` judges one",
    b"sqlite format 3\0": "a store of runs: `--store` and `--retry-failed` of `numatune audit` take it",
    b"<!doctype html>": "a page for a browser: " + _ITS_RESULTS,
}


def by_schema(schema: object) -> str | None:
    """What a file with this schema is, and which command takes it; None where it is none of numatune's."""
    return _SCHEMAS.get(schema) if isinstance(schema, str) else None


def by_beginning(data: bytes) -> str | None:
    """What a file that is no JSON is, and what takes it; None where numatune writes no such file."""
    head = data[:1000].lstrip(b"\n ")[:16].lower()
    return next((said for start, said in _BEGINNINGS.items() if head.startswith(start)), None)
