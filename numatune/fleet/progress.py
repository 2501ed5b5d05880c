"""Where a run is, as one line that fits the terminal."""

from __future__ import annotations

from ..core.host_status import NOT_JUDGED, PROFILE, UNREACHABLE
from .events import Progress

# An estimate from a handful of hosts misleads.
_LEAST_SECONDS, _LEAST_DONE = 3.0, 0.02
_WORDS = {NOT_JUDGED: "not judged"}


def line(progress: Progress, width: int = 80) -> str:
    """Return the line, at most `width` - 1 characters (a full row would wrap); parts that do not fit are left out.

    `312/1,000 hosts · ok 250 · findings 50 · unreachable 12 (auth 5, tcp 7) · 8 in flight · 45 s, about 90 s left`.
    What goes first: the phases, then what is in flight, then the words around the numbers.
    """
    hosts = f"{progress.done:,}/{progress.total:,} hosts"
    states = [f"{_WORDS.get(name, name)} {count:,}" for name, count in progress.statuses.items() if count]
    phases = sorted(progress.phases.items(), key=lambda item: (-item[1], item[0]))
    failed = ", ".join(f"{name} {count:,}" for name, count in phases if count and name != PROFILE)
    detailed = [f"{state} ({failed})" if failed and state.startswith(UNREACHABLE) else state for state in states]
    flying = [f"{progress.in_flight:,} in flight"] if progress.in_flight else []
    clock = _seconds(progress.seconds)
    left = estimate(progress)
    time = clock if left is None else f"{clock}, about {_seconds(left)} left"
    wordings = (
        [hosts, *detailed, *flying, time],
        [hosts, *states, *flying, time],
        [hosts, *states, time],
        [hosts, *states, clock],
        [hosts, clock],
        [hosts],
    )
    fitting = (" · ".join(parts) for parts in wordings)
    return next((text for text in fitting if len(text) < width), hosts[: max(0, width - 1)])


def estimate(progress: Progress) -> float | None:
    """Return the seconds left at the pace so far; None where it is too early to say, and when all are finished."""
    left = progress.total - progress.done
    if left <= 0 or progress.seconds < _LEAST_SECONDS or progress.done < max(1, _LEAST_DONE * progress.total):
        return None
    return left * progress.seconds / progress.done


def _seconds(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
