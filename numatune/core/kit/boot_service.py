"""`numatune-apply.service`: what sets, at every boot, the values that come too late for tmpfiles.d or are fought over.

A governor exists only once its driver's module has loaded, TuneD and irqbalance write when they start, and a cpuset
partition needs its slice. So one oneshot unit runs after all of these, reads back what it wrote, and fails where a
value did not take (`systemctl --failed` and the journal name it). It runs a static script over data files, one a
setting, under /etc/numatune/apply.d:

    cpus LIST FILE VALUE        /sys/devices/system/cpu/cpuN/FILE of each CPU of a kernel list
    irqs NODE LIST              every interrupt of a node's devices ("-1": of no node; "*": of any other node)
    default-irqs MASK           /proc/irq/default_smp_affinity, for interrupts to come
    partition SLICE TYPE UNIT   cpuset.cpus.partition of a top-level slice, once the unit does not run outside it

Interrupts are matched when the script runs, never by number; what the kernel refuses to move (managed ones) is said
and is no failure, and so is a CPU that is offline. Any other refusal fails.

The unit goes down with TuneD and comes up with it: PartOf= passes stops and restarts on, never a start, so
tuned.service wants the unit too, by a link of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple, Optional

from ..change import Change, Conflict
from ..derived import once
from ..machine import units
from ..machine.units import Applier, applier, of_unit
from ..model import Line, Reading, Snapshot
from ..ours import HEADER, UNIT
from ..sources import Directory, File, Source
from ..status import Plane
from ..text import lines

FOLDER = "/etc/numatune/apply.d"
SCRIPT_PATH = "/etc/numatune/apply"
UNIT_PATH = f"/etc/systemd/system/{UNIT}"
LINK_PATH = f"/etc/systemd/system/multi-user.target.wants/{UNIT}"
LINK_PATHS = (f"/etc/systemd/system/tuned.service.wants/{UNIT}", LINK_PATH)
"""What `systemctl enable` would make, the boot's own last: with it, all stands."""

UNIT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._:\\-]*\.service")
"""The name of a service, as far as it goes into a path here."""


SCRIPT = f"""#!/bin/sh
{HEADER}# Sets what {FOLDER}/*.conf says, reads it back, and fails where a value did not take.
set -u
LC_ALL=C; export LC_ALL
PATH=/usr/sbin:/usr/bin:/sbin:/bin; export PATH
failed=0
fail() {{ echo "numatune-apply: $*" >&2; failed=1; }}

numbers() {{ # 2-4,7 -> 2 3 4 7
  for span in $(echo "$1" | tr ',' ' '); do
    number=${{span%-*}}
    while [ "$number" -le "${{span#*-}}" ]; do echo "$number"; number=$((number + 1)); done
  done
}}

bare() {{ # a mask without commas and leading zeros: the kernel prints another width once CPUs were added
  mask=$(echo "$1" | tr -d ',')
  while [ "${{mask#0}}" != "$mask" ]; do mask=${{mask#0}}; done
  echo "$mask"
}}

same() {{ # NOW VALUE FILE
  case $3 in
    */default_smp_affinity) [ "$(bare "$1")" = "$(bare "$2")" ] ;;
    *) [ "$1" = "$2" ] ;;
  esac
}}

write() {{ # FILE VALUE: reads first, so that what is right is not written again
  now=
  read -r now <"$1" && same "$now" "$2" "$1" && return 0
  if ! {{ printf '%s\\n' "$2" >"$1"; }} 2>/dev/null; then fail "$1 refused $2"; return 0; fi
  now=
  read -r now <"$1"
  same "$now" "$2" "$1" || fail "$1 still holds $now after $2 was written"
}}

# Half seconds that are left to wait in the whole run, however many files are missing.
patience=20
wait_for() {{ # FILE: what a driver's module makes may come a little later than udev says
  while [ ! -e "$1" ] && [ "$patience" -gt 0 ]; do sleep 0.5; patience=$((patience - 1)); done
  [ -e "$1" ] || fail "$1 did not appear"
}}

offline() {{ # CPU: it has no values to set, and gets the driver's own when it comes
  [ -d "/sys/devices/system/cpu/cpu$1" ] || return 0
  online=1
  # The first CPU often has no such file, for it cannot go offline.
  [ ! -e "/sys/devices/system/cpu/cpu$1/online" ] || read -r online <"/sys/devices/system/cpu/cpu$1/online"
  [ "$online" = 0 ]
}}

one_each() {{ # words, each named once
  seen=
  for word in $1; do
    case "$seen " in *" $word "*) ;; *) seen="$seen $word" ;; esac
  done
  echo "$seen"
}}

list_for() {{ # CONF NODE: sets list
  list=
  while read -r kind node value; do
    [ "$kind" = irqs ] || continue
    if [ "$node" = "$2" ] || [ "$node" = '*' ]; then list=$value; return 0; fi
  done <"$1"
}}

place() {{ # CONF: its irqs lines, for every interrupt that has an action
  moved=0 refused=0
  for irq in /proc/irq/[0-9]*; do
    number=${{irq##*/}} file=$irq/smp_affinity_list
    if [ -e "/sys/kernel/irq/$number/actions" ]; then
      actions=
      read -r actions <"/sys/kernel/irq/$number/actions"
      [ -n "$actions" ] || continue
    fi
    at=-1
    [ ! -r "$irq/node" ] || read -r at <"$irq/node"
    list_for "$1" "$at"
    # An interrupt may go at any time.
    if [ -z "$list" ] || [ ! -e "$file" ]; then continue; fi
    now=
    read -r now <"$file"
    [ "$now" != "$list" ] || continue
    if {{ printf '%s\\n' "$list" >"$file"; }} 2>/dev/null; then
      moved=$((moved + 1))
      continue
    fi
    [ -e "$file" ] || continue
    # Again, by the program: dash's own printf names no reason.
    if why=$({{ env printf '%s\\n' "$list" >"$file"; }} 2>&1); then
      moved=$((moved + 1))
      continue
    fi
    case $why in
      *'Input/output error'* | *'Operation not permitted'*) refused=$((refused + 1)) ;;
      *) fail "$file refused $list: ${{why##*: }}" ;;
    esac
  done
  echo "numatune-apply: moved $moved interrupts; the kernel keeps $refused where they are"
}}

command -v udevadm >/dev/null && udevadm settle --timeout=30
for conf in {FOLDER}/*.conf; do
  [ -e "$conf" ] || continue
  placed= skipped=
  while read -r kind first second value; do
    case $kind in
      cpus)
        for cpu in $(numbers "$first"); do
          file=/sys/devices/system/cpu/cpu$cpu/$second
          if offline "$cpu"; then skipped="$skipped $cpu"; continue; fi
          wait_for "$file"
          [ ! -e "$file" ] || write "$file" "$value"
        done ;;
      irqs) [ -n "$placed" ] || place "$conf"; placed=yes ;;
      default-irqs) write /proc/irq/default_smp_affinity "$first" ;;
      partition)
        case $(systemctl show --value -p ControlGroup -- "$value" </dev/null) in
          '' | "/$first/"*)
            systemctl start -- "$first" </dev/null
            file=/sys/fs/cgroup/$first/cpuset.cpus.partition
            wait_for "$file"
            [ ! -e "$file" ] || write "$file" "$second" ;;
          # It would be squeezed onto the CPUs that are left.
          *) fail "$value still runs outside $first: restart it, then this unit" ;;
        esac ;;
      '' | '#'*) ;;
      *) fail "$conf: a line that this version does not know: $kind" ;;
    esac
  done <"$conf"
  [ -z "$skipped" ] || echo "numatune-apply: $conf: offline, left out:$(one_each "$skipped")"
done
exit "$failed"
"""

UNIT_TEXT = f"""{HEADER}[Unit]
Description=numatune: values that come after their drivers and daemons
ConditionPathExists={SCRIPT_PATH}
Wants=network-online.target
After=systemd-modules-load.service systemd-udev-trigger.service network-online.target
# Who writes the same values goes first, also when it is restarted.
After=tuned.service tuned-ppd.service power-profiles-daemon.service cpupower.service irqbalance.service
After=cpufrequtils.service ondemand.service saptune.service sapconf.service sysfsutils.service
PartOf=tuned.service
# Each role that changes its part starts it once.
StartLimitIntervalSec=0

[Service]
Type=oneshot
RemainAfterExit=yes
TimeoutStartSec=120
ExecStart=/bin/sh {SCRIPT_PATH}

[Install]
WantedBy=multi-user.target tuned.service
"""

SOURCES: tuple[Source, ...] = (
    Directory(FOLDER),
    File(f"{FOLDER}/*.conf"),
    File(SCRIPT_PATH),
    *of_unit(UNIT),
    *(File(path, links=True) for path in LINK_PATHS),
)


class Word(NamedTuple):
    """One line of a data file: its words, and where it stands."""

    words: tuple[str, ...]
    where: Line


@once
def words(snapshot: Snapshot, setting: str) -> list[Word]:
    """Return the lines of one setting's data file."""
    path = conf(setting)
    found = []
    for number, line in enumerate(lines(snapshot.read(path).text), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            found.append(Word(tuple(line.split()), Line(path, number, line.strip())))
    return found


def conf(setting: str) -> str:
    """Return the path of a setting's data file."""
    return f"{FOLDER}/{setting}.conf"


@once
def starts(snapshot: Snapshot) -> Applier:
    """Return whether the next boot runs the script.

    A part that is missing counts as none, TuneD's link too: what is not enabled whole is made so by the next run.
    """
    for reading in (snapshot.directory(FOLDER), *map(snapshot.read, (SCRIPT_PATH, UNIT_PATH, *LINK_PATHS))):
        if reading.unread:
            return Applier(Plane.UNREAD, reading.why())
        if not reading.present:
            return Applier(Plane.NONE)
    if not set(LINK_PATHS) <= snapshot.links.keys():
        return Applier(Plane.NONE)
    for path, text in ((SCRIPT_PATH, SCRIPT), (UNIT_PATH, UNIT_TEXT)):
        if snapshot.read(path).text != text:
            why = f"{path} is not what this version of numatune writes: run playbooks/tune.yml"
            return Applier(Plane.UNREAD, why)
    return applier(snapshot, UNIT)


def remedy(snapshot: Snapshot, setting: str) -> str:
    """Return what lets the unit apply a setting's lines, "" where it has none or nothing is in its way."""
    return starts(snapshot).remedy if words(snapshot, setting) else ""


def refusals(snapshot: Snapshot, setting: str) -> tuple[Conflict, ...]:
    """Return the conflict with what would keep the unit from running at boot though numatune enables it."""
    found = applier(snapshot, UNIT)
    ours = found.where is not None and found.where.path == UNIT_PATH and UNIT_PATH not in snapshot.links
    return () if ours else units.refusals(setting, found, conf(setting))


def changes(
    snapshot: Snapshot, setting: str, lines: Iterable[str], why: str, at_next_boot: bool = False
) -> tuple[Change, ...]:
    """Return what makes the boot service set these lines for a setting; no lines removes the setting's file.

    Empty when all of it stands already. The service is started to prove it, unless only the next boot may do so.
    """
    text = "".join(f"{line}\n" for line in lines)
    wanted: list[tuple[str, str, Optional[str], Optional[str]]] = [
        ("file", conf(setting), HEADER + text if text else None, "0644")
    ]
    if text:
        wanted += [
            ("file", SCRIPT_PATH, SCRIPT, "0755"),
            ("file", UNIT_PATH, UNIT_TEXT, "0644"),
            *(("link", path, UNIT_PATH, None) for path in LINK_PATHS),
        ]
    found = []
    for kind, path, content, mode in wanted:
        reading = snapshot.read(path)
        before = snapshot.links.get(path) if kind == "link" else reading.text if reading.present else None
        if before != content:
            mode = mode if content is not None else None
            found.append(Change(setting, kind, path, content, before, why, mode, at_next_boot))
    if found and text and not at_next_boot and systemd_runs(snapshot):
        proof = "sets it as the next boot will, and reads it back"
        found.append(Change(setting, "service", UNIT, "restarted", "inactive", proof))
    return tuple(found)


def systemd_runs(snapshot: Snapshot) -> bool:
    """Return whether the host's systemd answered, so that units can be started and stopped."""
    shown: Reading = snapshot.command("units")
    return shown.present and bool(shown.text.strip())
