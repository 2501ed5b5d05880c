"""Failures of many hosts that are one: the message without what differs from host to host."""

from __future__ import annotations

import re
from collections.abc import Iterable

_ADDRESS = re.compile(
    r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|\[?[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7}\]?)(?!\w|\.\w)"
)
_SECONDS = re.compile(r"\b\d+\.\d+ s\b")
_KEY = re.compile(r"\bSHA256:[A-Za-z0-9+/=]+")
_LEAST = 2


def kind(message: str, own: Iterable[str], shared: Iterable[str] = ()) -> str:
    """Return a failure's message with a host's own words (alias, host name) as HOST.

    Other addresses become ADDRESS, but for `shared` ones (of jump hosts, which say what hosts have in common);
    fingerprints of keys become KEY, measured seconds "… s". Hosts whose messages are then equal failed for one reason.
    """
    for word in sorted({word for word in own if len(word) >= _LEAST}, key=len, reverse=True):
        # A whole word only: host "auth" must not eat into "authentication".
        message = re.sub(rf"(?<![\w.-]){re.escape(word)}(?![\w-]|\.\w)", "HOST", message)
    kept = frozenset(shared)
    message = _ADDRESS.sub(lambda match: match[0] if match[0].strip("[]") in kept else "ADDRESS", message)
    return _KEY.sub("KEY", _SECONDS.sub("… s", message))
