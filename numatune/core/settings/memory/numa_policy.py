"""The memory policy of one service, where the sysctl of automatic NUMA balancing may not be changed.

The kernel's NUMA balancing leaves memory under an explicit policy alone (mempolicy.c, vma_policy_mof): measured with
systemd's NUMAPolicy=local, at most 250 hinting faults against 130,000. AllowedMemoryNodes= is a cpuset, no policy, and
does not help.
"""

from __future__ import annotations

from ...change import Change, Conflict
from ...host import Host
from ...kit.boot_service import UNIT_NAME
from ...kit.said import Said, unread
from ...kit.words import evidence, sentence
from ...model import Finding, Reading, Severity, Status
from ...ours import HEADER
from ...setting import Planned
from ...sources import Command, File, Source
from ...status import Plane, combine
from ...text import lines

_MEMORY = "zz-numatune-memory.conf"
_MEMORY_TEXT = (
    f"{HEADER}[Service]\n# Automatic NUMA balancing leaves memory with a policy alone (mempolicy.c, vma_policy_mof).\n"
    "NUMAPolicy=local\n"
)
# What each unit with such a drop-in runs with: the policies of its main process's mappings.
_POLICIES = rf"""# The memory policies of the services that numatune gave one.
for drop_in in /etc/systemd/system/*.service.d/{_MEMORY}; do
  [ -e "$drop_in" ] || continue
  unit=${{drop_in%.d/*}}
  unit=${{unit##*/}}
  pid=$($limit systemctl show --value -p MainPID -- "$unit")
  answer="${{answer}}Id=$unit pid=$pid$newline"
  [ "${{pid:-0}}" != 0 ] || continue
  for policy in $(sed -n 's/^[0-9a-f]* \([a-z]*\).*/\1/p' "/proc/$pid/numa_maps" | sort -u); do
    answer="${{answer}}Id=$unit policy=$policy$newline"
  done
done"""

SOURCES: tuple[Source, ...] = (
    File(f"/etc/systemd/system/*.service.d/{_MEMORY}"),
    Command("memory_policies", _POLICIES, needs="systemctl", starts=("sort",), shown="/proc/PID/numa_maps"),
)


def judge(host: Host, unit: str, severity: Severity, reading: Reading) -> Finding:
    """Judge the one unit that gets a memory policy, where the sysctl may not be changed."""
    drop_in = host.snapshot.read(_memory_path(unit))
    after = Plane.UNREAD if drop_in.unread else Plane.RIGHT if drop_in.text == _MEMORY_TEXT else Plane.WRONG
    running = _unit_runs(host, unit)
    status = combine(running.plane, after)
    return Finding(
        "numa_balancing",
        status,
        severity,
        runtime=running.value,
        persisted="NUMAPolicy=local" if after is Plane.RIGHT else None,
        expected=f"memory policy local for {unit}",
        reason=sentence(
            f"the kernel balances (numa_balancing is {reading.text.strip()}), but leaves memory with a policy alone"
            if after is Plane.RIGHT
            else f"{unit} has no memory policy, and its pages are unmapped to sample accesses",
            running.why,
        ),
        evidence=evidence(reading, drop_in),
        remedy="" if status is Status.OK else f"run playbooks/tune.yml, then restart {unit}",
    )


def _unit_runs(host: Host, unit: str) -> Said:
    """Return which policies the unit's process has, right where it has one everywhere."""
    shown = host.snapshot.command("memory_policies")
    said = (line.split() for line in lines(shown.text) if line.startswith(f"Id={unit} "))
    # The line of a damaged stream may end there.
    mine = [words[1] for words in said if len(words) > 1]
    policies = sorted({word.partition("=")[2] for word in mine if word.startswith("policy=")})
    if "pid=0" in mine:
        return Said(Plane.RIGHT, "not running", why="it does not run now, and starts with the policy")
    if policies:
        default = "default" in policies
        why = f"{unit} runs without the policy: restart it" if default else ""
        return Said(Plane.WRONG if default else Plane.RIGHT, ", ".join(policies), why=why)
    if not host.snapshot.read(_memory_path(unit)).present:
        return Said(Plane.WRONG)
    return unread(f"the policies of {unit}'s memory could not be read (root reads them)")


def _memory_path(unit: str) -> str:
    return f"/etc/systemd/system/{unit}.d/{_MEMORY}"


def changes(host: Host, unit: str) -> Planned:
    """Plan the drop-in; the service is restarted by whoever runs it."""
    path = _memory_path(unit)
    if not UNIT_NAME.fullmatch(unit):
        message = f"settings.numa_balancing.unit: {unit!r} is no service's name"
        return (), (Conflict("numa_balancing", "", 0, "", message),)
    current = host.snapshot.read(path)
    if current.present and current.text == _MEMORY_TEXT:
        return (), ()
    if current.present and not current.text.startswith(HEADER):
        message = f"{path} exists and is not numatune's: move it away, then run again"
        return (), (Conflict("numa_balancing", path, 1, lines(current.text)[0] if current.text else "", message),)
    why = "its memory is left alone from its next restart on"
    before = current.text if current.present else None
    return (Change("numa_balancing", "file", path, _MEMORY_TEXT, before, why, "0644", needs_reboot=True),), ()
