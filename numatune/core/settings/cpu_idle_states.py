"""What idle states a CPU has, which of them it may enter, and the latency requests that bound it."""

from __future__ import annotations

from itertools import count
from typing import NamedTuple, Optional

from ..host import Host
from ..model import Reading, Snapshot, State
from ..parsers.numbers import natural
from ..topology import CPU

STATE_FILES = ("name", "latency", "disable")
QOS = "power/pm_qos_resume_latency_us"


class Idle(NamedTuple):
    """One idle state: exit latency in µs."""

    name: str
    latency: int
    disabled: Optional[bool]
    """None where its `disable` file is not there."""

    @property
    def polls(self) -> bool:
        """Whether the CPU does not sleep in it at all; the kernel has one such state, and WFI may take 0 us too."""
        return self.name == "POLL"


def qos_path(cpu: int) -> str:
    """Return the path of a CPU's latency request."""
    return f"{CPU}/cpu{cpu}/{QOS}"


def all_states(host: Host) -> dict[int, list[Idle]]:
    """Return the idle states of every serving CPU, shallowest first; none where they could not be read whole."""
    alike: dict[tuple[Optional[str], ...], list[Idle]] = {}
    return {cpu: _states(host.snapshot, cpu, alike) for cpu in host.roles.serving}


def _states(snapshot: Snapshot, cpu: int, alike: dict[tuple[Optional[str], ...], list[Idle]]) -> list[Idle]:
    """Return a CPU's idle states, shallowest first, none when one of them could not be read whole.

    `alike` keeps those of CPUs whose files read the same.
    """
    texts: list[Optional[str]] = []
    for index in count():
        base = f"{CPU}/cpu{cpu}/cpuidle/state{index}/"
        latency = snapshot.files.get(base + "latency")
        if latency is None:
            after = f"{CPU}/cpu{cpu}/cpuidle/state{index + 1}/latency"
            if base + "name" in snapshot.files or after in snapshot.files:
                return []
            break
        texts += [latency, snapshot.files.get(base + "name"), snapshot.files.get(base + "disable")]
    key = tuple(texts)
    found = alike.get(key)
    if found is None:
        found = alike[key] = _parsed(texts)
    return found


def _parsed(texts: list[Optional[str]]) -> list[Idle]:
    """Parse latency, name and disable in turn; none when a state cannot be told, for it may be the deepest."""
    found: list[Idle] = []
    for latency, name, disable in zip(texts[::3], texts[1::3], texts[2::3]):
        exit_latency = None if latency is None else natural(latency)
        if exit_latency is None or name is None:
            return []
        off = None if disable is None else disable.strip() not in ("0", "")
        found.append(Idle(name.strip(), exit_latency, off))
    return found


def deepest_allowed(
    states: list[Idle], reading: Reading, holder: Optional[int], cap: int, complete: bool
) -> Optional[Idle]:
    """Return the deepest state that a CPU may enter now, None where that is not known."""
    if not states:
        return None
    limit = limit_of(reading)
    if holder is not None:
        limit = holder if limit is None else min(limit, holder)
    allowed = [state for state in states if not state.disabled and (limit is None or state.latency <= limit)]
    # The first state stays even when it is above the limit: a CPU has to idle somehow.
    deepest = max(allowed or states[:1], key=lambda state: state.latency)
    # What could not be read can only make it shallower, so it matters where it is too deep.
    gap = reading.unread or (deepest.disabled is None and not complete)
    return None if deepest.latency > cap and gap else deepest


def limit_of(reading: Reading) -> Optional[int]:
    """Return the latency that a request allows in µs, None for no request."""
    word = reading.text.strip()
    if word == "n/a":  # no idle state may have any latency
        return 0
    # "0" is "no constraint" (kernel, sysfs-devices-power).
    return natural(word) or None


def dma_latency(snapshot: Snapshot) -> Optional[int]:
    """Return the host-wide request in µs, None where nobody holds one (2,000 s is the kernel's "none")."""
    word = snapshot.command("cpu_dma_latency").text.strip()
    value = natural(word)
    return value if value is not None and value < 1_000_000 else None


def capped(value: str, cap: int) -> bool:
    """Return whether a request allows no more than the cap."""
    limit = limit_of(Reading("", State.PRESENT, value))
    return limit is not None and limit <= cap


def request(cap: int) -> str:
    """Return what is written to ask for a cap: "0" would be no request at all."""
    return str(cap) if cap else "n/a"
