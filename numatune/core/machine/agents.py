"""Services that set the same knobs: whether a unit runs, whether it starts at boot, and what it would fight over."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple, Optional

from .. import ours
from ..change import Conflict
from ..derived import once
from ..model import Reading, Snapshot, State
from ..sources import Command, Directory, File, Source
from ..text import lines
from . import tuned, units


class Agent(NamedTuple):
    """A unit that sets what a setting sets, and what else a person may do than disable it."""

    unit: str
    instead: str = ""


class Agents(NamedTuple):
    """The units that set what a setting sets, in words `knob`; each setting declares its own."""

    knob: str = ""
    units: tuple[Agent, ...] = ()


NONE = Agents()
TUNED, TUNED_PPD, POWER_PROFILES = "tuned.service", "tuned-ppd.service", "power-profiles-daemon.service"
TLP, AUTO_CPUFREQ, ONDEMAND = "tlp.service", "auto-cpufreq.service", "ondemand.service"
SAPTUNE, SAPCONF = "saptune.service", "sapconf.service"
KSM, KSMTUNED = "ksm.service", "ksmtuned.service"
SYSFSUTILS = "sysfsutils.service"
TUNED_PROFILE = tuned.ACTIVE
TUNED_ALONE = Agents(units=(Agent(TUNED),))
_KNOWN = (TUNED, TUNED_PPD, POWER_PROFILES, TLP, AUTO_CPUFREQ, SAPTUNE, SAPCONF, ONDEMAND, KSM, KSMTUNED)

# D-Bus starts these for whoever asks for power profiles, enabled or not: their packages register the bus name with
# SystemdService=UNIT (read in Debian's power-profiles-daemon and in TuneD's tree), and only a mask prevents that. So
# "disabled" and "static" say nothing of them; installed and not masked counts as "may start".
_ACTIVATED = (POWER_PROFILES, TUNED_PPD)
_BUS_NAMES = "/usr/share/dbus-1/system-services"
# Units that are made from /etc/init.d are "generated" whether or not a runlevel starts them: the link says it.
_SCRIPTS = ("cpufrequtils", "ondemand", "sysfsutils")
_RUNLEVEL = "/etc/rc3.d"

UNITS = ("irqbalance.service", *_KNOWN, "cpupower.service", "cpufrequtils.service", SYSFSUTILS)
"""The units that systemd is asked for."""
_ETC = units.ETC
_WANTS = f"{_ETC}/*.wants"
_LISTED = "/sos_commands/systemd/systemctl_list-unit-files"

SLICES = ("system.slice", "user.slice", "machine.slice", "init.scope")
_PROCESSES = (
    *("irqbalance", "tuned", "tuned-ppd", "power-profiles-", "tlp", "auto-cpufreq", "ksmtuned"),
    *("thermald", "numad"),
)
_PROPERTIES = (
    "-p Id -p LoadState -p ActiveState -p UnitFileState -p ConditionResult -p WantedBy -p MainPID -p AllowedCPUs"
)
_ASKED_UNITS = (*UNITS, *units.APPLIERS, ours.UNIT, *SLICES)
_ASKED = f"systemctl show {_PROPERTIES} {' '.join(_ASKED_UNITS)}"
_LISTED_UNITS = " \\\n  ".join(_ASKED_UNITS)
# The first process id in the answer is irqbalance's, for a slice or scope has none.
_SHOWN = f"""# What systemd knows of the services that set the same values, or apply settings at boot: one call for all.
[ -d /run/systemd/system ] || return
answer=$($limit systemctl show \\
  {_PROPERTIES} \\
  {_LISTED_UNITS}) || return
units=$answer
[ -n "$units" ]"""
_DAEMONS = f"""# The processes of such services, where systemd did not answer.
if [ -n "$units" ]; then
  absent=yes
  return
fi
for comm in /proc/[0-9]*/comm; do
  IFS= read -r name <$comm || continue
  case $name in
    {"|".join(_PROCESSES)})
      answer="$answer$comm:$name$newline";;
  esac
done
daemons=$answer"""

SOURCES: tuple[Source, ...] = (
    Command("units", _SHOWN, needs="systemctl", early=True, shown=_ASKED),
    Command("daemons", _DAEMONS, shown="/proc/[0-9]*/comm"),
    Directory("/run/systemd/system"),
    *(File(f"{_WANTS}/{unit}", links=True) for unit in UNITS),
    *(File(f"{_ETC}/{unit}", links=True) for unit in (*_ACTIVATED, TUNED)),
    *(File(f"{_RUNLEVEL}/S[0-9][0-9]{script}", links=True) for script in _SCRIPTS),
    File(f"{_BUS_NAMES}/*PowerProfiles.service"),
    *tuned.SOURCES,
    File(_LISTED, captured_only=True),
)


@dataclass(frozen=True)
class Unit:
    """A unit as far as it is known: None is "not known"."""

    installed: Optional[bool]
    active: Optional[bool]
    enabled: Optional[bool]
    source: str
    activated: bool = False
    """Whether D-Bus may start it though it is not enabled."""

    @property
    def at_boot(self) -> str:
        """Say how it comes to run after the next boot, "" where it is not known to."""
        return "starts at boot" if self.enabled else "is not masked, so D-Bus may start it," if self.activated else ""


@once
def unit(snapshot: Snapshot, name: str) -> Unit:
    """Return what is known of a unit: from systemd itself, else from the links under /etc and the process list."""
    pairs = units.shown(snapshot, name)
    if pairs:
        installed = pairs.get("LoadState") not in ("not-found", None)
        state = pairs.get("UnitFileState", "")
        return Unit(
            installed,
            pairs.get("ActiveState") == "active",
            state.startswith("enabled") or (state == "generated" and _script(snapshot, name) is not None),
            "systemctl show",
            # "masked-runtime" ends with this boot.
            name in _ACTIVATED and installed and state != "masked",
        )
    enabled, where = _enabled(snapshot, name)
    running = _running(snapshot, name.removesuffix(".service"))
    known = running is not None and enabled is not None
    installed_ = True if running or enabled else False if known else None
    return Unit(installed_, running, enabled, where, name in _ACTIVATED and _registered(snapshot, name))


def _running(snapshot: Snapshot, program: str) -> Optional[bool]:
    listed = snapshot.command("daemons")
    # What is not looked for is not known; a unit that starts a program and ends has no process.
    if not listed.present or program[:15] not in _PROCESSES:
        return None
    return any(line.rpartition(":")[2] == program[:15] for line in lines(listed.text))


def _enabled(snapshot: Snapshot, name: str) -> tuple[Optional[bool], str]:
    if snapshot.links.get(f"{_ETC}/{name}") == "/dev/null":
        return False, f"{_ETC}/{name}"
    for folder, paths in snapshot.configuration.items():
        if folder.startswith(f"{_ETC}/") and folder.endswith(".wants") and f"{folder}/{name}" in paths:
            return True, f"{folder}/{name}"
    script = _script(snapshot, name)
    if script is not None:
        return True, script
    listed: Reading = snapshot.read(_LISTED)
    for line in lines(listed.text):
        words = line.split()
        if len(words) > 1 and words[0] == name:
            return words[1].startswith("enabled"), _LISTED
    if listed.present:
        return False, _LISTED
    # Where the links of this very unit were looked for, there is none.
    return (False if snapshot.read(f"{_ETC}/multi-user.target.wants/{name}").state is State.ABSENT else None), _ETC


def _script(snapshot: Snapshot, name: str) -> Optional[str]:
    """Return the runlevel's link that starts a unit which is made from a script of /etc/init.d."""
    script = re.compile(rf"{_RUNLEVEL}/S\d\d{re.escape(name.removesuffix('.service'))}")
    return next((path for path in snapshot.below(_RUNLEVEL) if script.fullmatch(path)), None)


def _registered(snapshot: Snapshot, name: str) -> bool:
    """Return whether D-Bus knows the unit and no mask is seen."""
    wanted = f"SystemdService={name}"
    named = any(wanted in snapshot.read(path).text.split() for path in snapshot.below(_BUS_NAMES))
    return named and snapshot.links.get(f"{_ETC}/{name}") != "/dev/null"


def decides(snapshot: Snapshot, agents: Agents, cooperate: Collection[str] = ()) -> str:
    """Say which of a setting's agents decides it after the next boot, "" for none that is known; `cooperate` may."""
    for name, _ in agents.units:
        at_boot = unit(snapshot, name).at_boot if name not in cooperate else ""
        if at_boot:
            return f"{name} {at_boot} and decides{_by_profile(snapshot, name)}"
    return ""


def unseen(snapshot: Snapshot, agents: Agents, cooperate: Collection[str] = ()) -> str:
    """Say of which of a setting's agents a captured tree does not tell whether it starts at boot, "" for none."""
    names = (name for name, _ in agents.units if name not in cooperate)
    name = next((name for name in names if unit(snapshot, name).enabled is None), "")
    return f"whether {name} starts at boot is not in the captured tree" if name else ""


def conflicts(
    snapshot: Snapshot, setting: str, agents: Agents, cooperate: Collection[str] = ()
) -> tuple[Conflict, ...]:
    """Return a conflict for each of a setting's agents that runs now or may after a boot.

    `cooperate` names the units with which somebody said to live. A unit that is installed and neither runs nor
    starts is none.
    """
    found = []
    for name, instead in agents.units:
        if name in cooperate:
            continue
        state = unit(snapshot, name)
        how = " and ".join(part for part in ("runs now" if state.active else "", state.at_boot) if part)
        if not how:
            continue
        verb = "mask" if name in _ACTIVATED else "disable"
        advice = ", ".join(part for part in (f"`systemctl {verb} --now {name}`", instead) if part)
        what = f"{name} {how} and sets {agents.knob}{_by_profile(snapshot, name)}"
        profile = snapshot.read(TUNED_PROFILE)
        path, line, text = (
            (TUNED_PROFILE, 1, profile.text.strip())
            if name == TUNED and profile.text.strip()
            else (state.source if state.source != _ETC and state.source.startswith("/") else "", 0, "")
        )
        found.append(Conflict(setting, path, line, text, f"{what}: {advice}; then run again"))
    return tuple(found)


def _by_profile(snapshot: Snapshot, name: str) -> str:
    profile = snapshot.read(TUNED_PROFILE).text.strip() if name == TUNED else ""
    return f" by profile {profile}" if profile else ""
