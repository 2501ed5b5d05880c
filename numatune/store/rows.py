"""What a store keeps of a run and of a host."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import NamedTuple, overload

_TEXT = 600


class Verdict(NamedTuple):
    """One setting's judgement, without what differs from host to host.

    `value` is the running one ("" where there is none); of an unknown setting, why it is unknown.
    """

    setting: str
    status: str
    severity: str
    value: str
    expected: str


@dataclass(frozen=True)
class Row:
    """One host that ended. `document` is its JSON; None for a failure, which `phase` and `message` tell.

    `kind` is the message without the words that differ from host to host: equal kinds are one group of failures.
    """

    place: int
    name: str
    status: str
    phase: str | None = None
    message: str | None = None
    kind: str | None = None
    seconds: float = 0.0
    attempts: int = 1
    document: bytes | None = None


@dataclass(frozen=True)
class RunFacts:
    """What a run is: `require` holds names of settings, () for the profile's critical ones; `hosts` are asked for."""

    command: str
    version: str
    profile: str
    fail_on: str
    require: tuple[str, ...]
    started: str
    hosts: int


class Group(NamedTuple):
    """Hosts that share something: what, how many, and the names of the first few."""

    what: tuple[str, ...]
    hosts: int
    first: tuple[str, ...]


def verdicts(document: bytes | None) -> list[Verdict]:
    """Return the verdicts of a host's JSON; its texts are the target's, so they are cut and made storable."""
    if document is None or b'"findings"' not in document:
        return []
    found = []
    for finding in json.loads(document).get("findings", ()):
        value = "reason" if finding.get("status") == "unknown" else "runtime"
        texts = (finding.get(field) for field in ("setting", "status", "severity", value, "expected"))
        found.append(Verdict(*(plain(text) or "" for text in texts)))
    return found


@overload
def plain(text: str) -> str: ...
@overload
def plain(text: None) -> None: ...
def plain(text: str | None) -> str | None:
    """Return a text that SQLite takes (no lone surrogates), cut to the length of the longest message."""
    return text if text is None else text.encode("utf-8", "backslashreplace").decode()[:_TEXT]
