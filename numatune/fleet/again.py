"""The hosts that are asked a second time at the end of a run, because this machine was late the first time."""

from __future__ import annotations

from typing import Any

from ..transport.limits import Deadline

AT_ONCE = 4
"""Second tries in flight: few, since too many at once made the first ones late."""

# With less of its time left a second try would only be late again.
_WORTH = 0.25

Message = dict[str, Any]


class Again:
    """Keeps the first failure of each host that is to be asked again, until its second try is over.

    All second tries together have `total_s`, so that silent hosts on a starved controller cost a run no more than one
    host's limit.
    """

    def __init__(self, total_s: float) -> None:
        self._total_s = total_s
        self._first: dict[int, Message] = {}
        self._round: Deadline | None = None

    def take(self, number: int, message: Message) -> Message | None:
        """Take what a worker says of a host; return what is to be told of it, None where that waits for a second try.

        `late_s` of the message is for how long the worker was late, where that may be why the host failed.
        """
        first = self._first.pop(number, None)
        if first is not None:
            return _both(first, message)
        if self._round is None and "late_s" in message:
            self._first[number] = message
            return None
        message.pop("late_s", None)
        return message

    def begin(self, now: float) -> frozenset[int]:
        """Begin the second tries and return their hosts: none where there is nothing to ask again, or they are over."""
        if self._round is not None or not self._first:
            return frozenset()
        self._round = Deadline(now, self._total_s)
        return frozenset(self._first)

    def seconds(self, now: float) -> float:
        """Return how long a host that starts now may take; 0 where a second try is not worth it any more."""
        if self._round is None:
            return self._total_s
        left = self._round.end - now
        return left if left >= _WORTH * self._total_s else 0.0

    def untried(self) -> list[tuple[int, Message]]:
        """Return the hosts that no second try came to an end for, each with its first failure."""
        return [(number, _alone(message)) for number, message in sorted(self._first.items())]


def _both(first: Message, second: Message) -> Message:
    """Return the second try's result, which says that there was a first, with the time of both."""
    late_s = first["late_s"]
    both = {
        **second,
        "late_s": late_s,
        "seconds": round(first["seconds"] + second["seconds"], 3),
        "attempts": first["attempts"] + second["attempts"],
    }
    if "failure" in second:
        both["failure"] = _noted(second, f"the second try, since this machine was late by {late_s:.1f} s in the first")
    return both


def _alone(first: Message) -> Message:
    advice = f"but this machine was late by {first['late_s']:.1f} s: use fewer --forks, then --retry-failed"
    return {**first, "failure": _noted(first, advice)}


def _noted(message: Message, note: str) -> dict[str, str]:
    return {"phase": message["failure"]["phase"], "message": f"{message['failure']['message']} ({note})"}
