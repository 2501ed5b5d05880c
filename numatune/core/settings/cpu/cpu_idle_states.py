"""What idle states a CPU has, which of them it may enter, and the latency requests that bound it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import NamedTuple, Optional

from ...host import Host
from ...machine.facts import architecture
from ...machine.topology import CPU
from ...model import Reading, Snapshot, State
from ...numbers import natural

STATE_FILES = ("name", "latency", "disable")
QOS = "power/pm_qos_resume_latency_us"


# x86's, POWER's (pseries_idle and powernv_idle), and x86's up to Linux 2.6 ("CPUIDLE CORE POLL IDLE").
_POLLING = ("POLL", "snooze", "C0")
# Of these a CPU stops in its first state, which may take 0 us to leave (WFI).
_STOPPING = ("aarch64", "arm", "riscv")


class Idle(NamedTuple):
    """One idle state: exit latency in µs; `polls` says that the CPU does not sleep in it at all."""

    name: str
    latency: int
    disabled: Optional[bool]
    """None where its `disable` file is not there."""
    polls: bool = False


def _polls(first: bool, name: str, desc: str, latency: int, stopping: bool) -> bool:
    """Return whether a state polls; the kernel does not show the driver's flag for it.

    A first state that costs nothing to leave counts as one whatever its name, except where such a state stops the
    CPU: to take a polling state for another would let a cap make the CPU spin for ever.
    """
    if name in _POLLING or "POLL" in desc.upper().split():
        return True
    return first and latency == 0 and not stopping and "WFI" not in f"{name} {desc}".upper()


def qos_path(cpu: int) -> str:
    """Return the path of a CPU's latency request."""
    return f"{CPU}/cpu{cpu}/{QOS}"


def all_states(host: Host) -> dict[int, list[Idle]]:
    """Return the idle states of every serving CPU, shallowest first; none where they could not be read whole."""
    alike: dict[tuple[Optional[str], ...], list[Idle]] = {}
    stopping = (architecture(host.snapshot) or "").startswith(_STOPPING)
    return {cpu: _states(host.snapshot, cpu, alike, stopping) for cpu in host.roles.serving}


def _states(
    snapshot: Snapshot, cpu: int, alike: dict[tuple[Optional[str], ...], list[Idle]], stopping: bool
) -> list[Idle]:
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
        texts += [latency, *(snapshot.files.get(base + name) for name in ("name", "disable", "desc"))]
    key = tuple(texts)
    found = alike.get(key)
    if found is None:
        found = alike[key] = _parsed(texts, stopping)
    return found


def _parsed(texts: list[Optional[str]], stopping: bool) -> list[Idle]:
    """Parse latency, name, disable and desc in turn; none when a state cannot be told, for it may be the deepest."""
    found: list[Idle] = []
    for latency, name, disable, desc in zip(texts[::4], texts[1::4], texts[2::4], texts[3::4]):
        exit_latency = None if latency is None else natural(latency)
        if exit_latency is None or name is None:
            return []
        off = None if disable is None else disable.strip() not in ("0", "")
        polls = _polls(not found, name.strip(), desc or "", exit_latency, stopping)
        found.append(Idle(name.strip(), exit_latency, off, polls))
    return found


class Held(NamedTuple):
    """The host-wide request in µs, None where nobody holds one; `unread` says why that is not known, "" where it is."""

    limit: Optional[int] = None
    unread: str = ""


def deepest_allowed(states: list[Idle], reading: Reading, held: Held, cap: int, complete: bool) -> Optional[Idle]:
    """Return the deepest state that a CPU may enter now, None where that is not known."""
    if not states:
        return None
    limit = limit_of(reading)
    if held.limit is not None:
        limit = held.limit if limit is None else min(limit, held.limit)
    allowed = [state for state in states if not state.disabled and (limit is None or state.latency <= limit)]
    # The first state stays even when it is above the limit: a CPU has to idle somehow.
    deepest = max(allowed or states[:1], key=lambda state: state.latency)
    # What could not be read can only make it shallower, so it matters where it is too deep.
    gap = reading.unread or (deepest.disabled is None and not complete) or held.unread
    return None if deepest.latency > cap and gap else deepest


def limit_of(reading: Reading) -> Optional[int]:
    """Return the latency that a request allows in µs, None for no request."""
    word = reading.text.strip()
    if word == "n/a":  # no idle state may have any latency
        return 0
    # "0" is "no constraint" (kernel, sysfs-devices-power).
    return natural(word) or None


def dma_latency(snapshot: Snapshot) -> Held:
    """Return the request that a process holds for all CPUs by /dev/cpu_dma_latency."""
    reading = snapshot.command("cpu_dma_latency")
    value = natural(reading.text)
    if reading.present and value is not None:
        # 2,000 s is the kernel's "none".
        return Held(value if value < 1_000_000 else None)
    if reading.state is State.ABSENT and not snapshot.commands:
        # A folder that stands for a whole host: nothing runs there that could hold it.
        return Held()
    if reading.state is State.NOT_CAPTURED:
        return Held(unread=reading._replace(path=_DMA).why())
    root = snapshot.command("uid").text.strip() == "0"
    return Held(unread=f"{_DMA} could not be read" if root else f"needs root to read {_DMA}")


_DMA = "/dev/cpu_dma_latency"


def wanted_cap(host: Host, states: Mapping[int, list[Idle]]) -> int:
    """Return the exit latency in µs that a serving CPU may have at most."""
    wanted = host.option("cpu_idle", "max_exit_latency_us")
    if wanted is not None:
        return int(wanted)
    # The shallowest state that does not poll: polling burns power that turbo needs (kernel, cpuidle.rst).
    shallow = [min((s.latency for s in found if not s.polls), default=0) for found in states.values() if found]
    # A request for no latency at all ("n/a") is for the first state alone: a CPU that polls there would spin for ever.
    return max(*shallow, 1)


def capped(value: str, cap: int) -> bool:
    """Return whether a request allows no more than the cap."""
    limit = limit_of(Reading("", State.PRESENT, value))
    return limit is not None and limit <= cap


def request(cap: int) -> str:
    """Return what is written to ask for a cap: "0" would be no request at all."""
    return str(cap) if cap else "n/a"
