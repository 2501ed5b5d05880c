"""What is derived from a snapshot is derived once: several settings ask whether TuneD runs, and which kernel it is."""

from __future__ import annotations

from functools import wraps
from typing import Any, Callable, TypeVar

from .model import Snapshot

_Derive = TypeVar("_Derive", bound=Callable[..., Any])


def once(derive: _Derive) -> _Derive:
    """Keep the result of a pure function of a snapshot and of hashable arguments, as long as the snapshot itself.

    Nobody may change a result.
    """

    @wraps(derive)
    def derived(snapshot: Snapshot, *arguments: Any, **named: Any) -> Any:
        key = (derive, *arguments, *named.items())
        kept = snapshot.derived
        if key not in kept:
            kept[key] = derive(snapshot, *arguments, **named)
        return kept[key]

    return derived  # type: ignore[return-value]  # Python 3.9 cannot say "with the same parameters"
