"""Power cuts: the runs that are cut, the whole runs that they are compared with, and what a guest says after one."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

from lab.controller import Controller, Run, files, stop, values
from lab.guest import Guest, base_image

ISOLATED = {"tune_core_isolation_mode": "kernel", "tune_core_isolation_pinned": True}
KINDS: dict[str, dict[str, Any]] = {
    # A stock guest: the causes that need no reboot.
    "plain": {},
    # A guest that is tuned so far: GRUB's menu, its environment, and the entry that boots once.
    "armed": ISOLATED,
    # The same, through the trial boot and what makes it permanent.
    "rebooted": {**ISOLATED, "reboot_ok": True},
}

JOURNAL = "/var/lib/numatune/journal"
# GRUB itself writes it when it boots an entry once; what is in it is checked by itself.
BY_GRUB = "boot/grub/grubenv sha256 "
# What a run that was cut may leave beside a file until the next run.
_TEMPORARY = re.compile(r"(?:etc|boot)/(?:.*/)?(?:\.[^/ ]+\.numatune|grub\.cfg\.numatune(?:\.new)?) ")
# They name the boot that they were written in, so their hashes are their own.
_DATED = ("/etc/grub.d/zz_numatune", "/etc/numatune/kernel-arguments")

_SERVICE = (
    "etc/numatune/apply",
    "etc/systemd/system/numatune-apply.service",
    "etc/systemd/system/multi-user.target.wants/numatune-apply.service",
)
PERSISTED = {
    "numa_balancing": ("etc/sysctl.d/99-zz-numatune.conf",),
    "cpu_governor": ("etc/numatune/apply.d/cpu_governor.conf", *_SERVICE),
    "cpu_idle": ("etc/tmpfiles.d/zz-numatune-idle.conf",),
    # Its ban decides where interrupts go for as long as it runs; the boot service only places them earlier.
    "irqbalance": ("etc/default/irqbalance",),
    "irq_affinity": ("etc/default/irqbalance",),
}
"""Setting -> the files without which a boot would not set it."""

_CPU = "sys/devices/system/cpu"
_RUNS: dict[str, Callable[[dict[str, str]], bool]] = {
    "numa_balancing": lambda now: now["proc/sys/kernel/numa_balancing"] == "0",
    "cpu_governor": lambda now: all(
        now[f"{_CPU}/cpufreq/policy{cpu}/scaling_governor"] == "performance" for cpu in (1, 3)
    ),
    "cpu_idle": lambda now: all(now[f"{_CPU}/cpu{cpu}/power/pm_qos_resume_latency_us"] == "1" for cpu in (1, 3)),
}
"""Setting -> whether the kernel's own files say that it is right on the serving CPUs, 1 and 3."""


@dataclass(frozen=True)
class End:
    """What a whole run left: its files, and how many seconds each new generation wrote for."""

    files: frozenset[str]
    spans: dict[int, float]


@dataclass(frozen=True)
class Moment:
    """When the power goes: so long after that generation of the journal appeared."""

    generation: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.seconds:.2f} s after generation {self.generation} was recorded"


def lines_of(guest: Guest) -> frozenset[str]:
    """The guest's files as lines, without what GRUB writes and without the ids of boots."""
    own = (BY_GRUB, *(f"{path[1:]} sha256 " for path in _DATED))
    found = {line for line in files(guest) if not line.startswith(own)}
    dated = (
        f"for file in {' '.join(_DATED)}; do [ ! -e $file ] || "
        "echo \"${file#/} without-boot $(sed 's/boot=[0-9a-f-]*/boot=/' $file | sha256sum)\"; done"
    )
    return frozenset(found.union(guest.read(dated).splitlines()))


def paths(lines: frozenset[str]) -> set[str]:
    """The paths that those lines tell of."""
    return {line.partition(" ")[0] for line in lines}


def generations(guest: Guest) -> dict[int, dict[str, Any]]:
    """The guest's journal, as it lies on its disk."""
    text = guest.read(f"cat {JOURNAL}/[0-9]*.json 2>/dev/null || true")
    decoder, found, at = json.JSONDecoder(), {}, 0
    while at < len(text):
        data, at = decoder.raw_decode(text, at)
        found[data["generation"]] = data
        at += len(text[at:]) - len(text[at:].lstrip())
    return found


def _spans(journal: dict[int, dict[str, Any]], after: int) -> dict[int, float]:
    """How long the generations after that number wrote, before they were proven; the journal has whole seconds."""
    return {
        number: max(1.0, (_time(data["completed"]) - _time(data["recorded"])).total_seconds())
        for number, data in journal.items()
        if number > after
    }


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


class Tuning:
    """A tune.yml that runs in the background, and ends with the block at the latest."""

    def __init__(self, controller: Controller, guest: Guest, variables: dict[str, Any], *arguments: str) -> None:
        self._guest = guest
        self._process = controller.start("tune", *arguments, **variables)

    def __enter__(self) -> Tuning:
        return self

    def await_generation(self, number: int) -> None:
        """Wait until the journal holds that generation, which its changes follow."""
        self.await_path(f"{JOURNAL}/{number:04d}.json")

    def await_path(self, path: str) -> None:
        """Wait until the guest has that file."""
        # In the guest, so that the instant is not the network's; again where the guest reboots meanwhile.
        watch = [*self._guest.ssh_command(), f"until [ -e {path} ]; do sleep 0.2; done"]
        while not self._holds(watch):
            if self._process.poll() is not None:
                raise AssertionError(f"the run ended before {path} appeared: {self._process.communicate()[0]}")
            time.sleep(0.5)

    def _holds(self, watch: list[str]) -> bool:
        """Watch until there is something to see, the guest is gone, or the run ends; whether it was seen."""
        with subprocess.Popen(watch, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as watching:
            while watching.poll() is None and self._process.poll() is None:
                time.sleep(0.02)
            watching.terminate()
        return watching.returncode == 0

    def __exit__(self, *_: object) -> None:
        stop(self._process)


@dataclass
class References:
    """The whole runs, made once, and the guests that cuts start from."""

    folder: Path
    tuned: Guest = field(default_factory=lambda: Guest("cut-tuned"))
    stock: frozenset[str] = frozenset()
    ends: dict[str, End] = field(default_factory=dict)
    trial_seconds: float = 0.0
    """How long the run took that rebooted into the trial and made it permanent."""

    def make_plain(self) -> None:
        """Tune a stock guest, and switch it off: the disk that the other kinds begin with."""
        guest = self.tuned.create(base_image("bookworm")).boot()
        controller = controller_of(self.folder, guest)
        self.stock = lines_of(guest)
        _expect(controller.play("tune"), guest, "tuned")
        self.ends["plain"] = End(lines_of(guest), _spans(generations(guest), 0))
        guest.power_off()

    def make_armed(self) -> None:
        """Arm the trial on a copy of it, then let tune.yml reboot into the trial and make it permanent."""
        guest = Guest("cut-armed").copy(self.tuned).boot()
        try:
            controller, before = controller_of(self.folder, guest), max(self.ends["plain"].spans)
            _expect(controller.play("tune", **KINDS["armed"]), guest, "pending_reboot")
            self.ends["armed"] = End(lines_of(guest), _spans(generations(guest), before))
            began, before = time.monotonic(), max(self.ends["armed"].spans)
            _expect(controller.play("tune", **KINDS["rebooted"]), guest, "tuned")
            self.trial_seconds = time.monotonic() - began
            self.ends["rebooted"] = End(lines_of(guest), _spans(generations(guest), before))
        finally:
            guest.remove()

    def begin(self, kind: str, guest: Guest) -> Guest:
        """Start a guest as a run of that kind finds it."""
        if kind == "plain":
            return guest.create(base_image("bookworm")).boot()
        return guest.copy(self.tuned).boot()

    def draw(self, kind: str, random: Random) -> Moment:
        """Draw when to cut: in a generation, and there sooner rather than later, so that half and more meet a write.

        With a reboot, one in three falls anywhere between the run's first generation and its second.
        """
        spans = dict(self.ends[kind].spans)
        if kind == "rebooted":
            spans.update(self.ends["armed"].spans)
            if random.random() < 1 / 3:
                return Moment(min(spans), random.random() * (min(spans.values()) + self.trial_seconds))
        generation = random.choice(sorted(spans))
        # The rest while it is proven, and before the next one begins.
        return Moment(generation, (2 * spans[generation] + 2) * random.random() ** 2)

    def possible(self, kind: str) -> tuple[frozenset[str], ...]:
        """The ends that each file must come from after a cut."""
        plain, armed = self.ends["plain"].files, self.ends["armed"].files if kind != "plain" else None
        if armed is None:
            return self.stock, plain
        return (plain, armed) if kind == "armed" else (plain, armed, self.ends["rebooted"].files)


def controller_of(folder: Path, guest: Guest) -> Controller:
    """A control node of its own, so that two runs do not share files."""
    own = folder / guest.name
    own.mkdir()
    controller = Controller(own)
    controller.add(guest)
    return controller


def _expect(run: Run, guest: Guest, state: str) -> None:
    assert run.states()[guest.name][0] == state, run.out


def check_files(lines: frozenset[str], ends: tuple[frozenset[str], ...]) -> None:
    """Every file is whole and as one of the ends has it; what all of them have is there."""
    known = frozenset().union(*ends)
    strange = {line for line in lines - known if not _TEMPORARY.match(line)}
    assert not strange, f"what no whole run leaves: {sorted(strange)}"
    missing = set.intersection(*map(paths, ends)) - paths(lines)
    assert not missing, f"gone: {sorted(missing)}"


def check_grub(guest: Guest) -> None:
    """The menu is a script that GRUB takes, its environment is a whole block, and nothing is booted once."""
    guest.ssh("grub-script-check /boot/grub/grub.cfg && grep -q '^menuentry ' /boot/grub/grub.cfg")
    assert guest.read("stat -c %s /boot/grub/grubenv") == "1024"
    shown = guest.read("grub-editenv /boot/grub/grubenv list")
    assert not re.search(r"^next_entry=.", shown, re.M), shown


def check_audit(
    audit: Callable[[], dict[str, Any]], guest: Guest, lines: frozenset[str], tuned: frozenset[str], kind: str
) -> None:
    """What the audit says of each setting is what the kernel's files and the disk say, read here by themselves.

    After a boot a value is right because something on disk set it: then it is ok, and nothing else is.
    """
    # Before and after, for irqbalance goes on in between.
    before = _running(guest)
    report = audit()
    after = _running(guest)
    statuses = {finding["setting"]: finding["status"] for finding in report["findings"]}
    for setting, names in PERSISTED.items():
        whole = all(line in lines for line in tuned if line.partition(" ")[0] in names)
        table = {
            (True, True): {"ok"},
            (True, False): {"lost_at_reboot"},
            (False, True): {"pending_reboot", "wrong"},
            (False, False): {"wrong"},
        }
        expected = table[before[setting], whole] | table[after[setting], whole]
        seen = f"it runs right: {before[setting]}, then {after[setting]}; it is whole on disk: {whole}"
        assert statuses[setting] in expected, f"{setting} is {statuses[setting]}; {seen}"
    if kind != "plain":
        _check_arguments(statuses, values(guest), guest)
    notes = [note for note in report["notes"] if "interrupted" in note]
    for number, data in generations(guest).items():
        named = any(re.search(rf"generation [\d, ]*\b{number}\b", note) for note in notes)
        assert named == (data["state"] in ("recorded", "reverting")), (
            f"generation {number} is {data['state']}; {report['notes']}"
        )


def _running(guest: Guest) -> dict[str, bool]:
    """Setting -> whether it is right now, by the kernel's own files and systemd."""
    now = values(guest)
    found = {setting: right(now) for setting, right in _RUNS.items()}
    return found | {"irq_affinity": not _on_serving(guest), "irqbalance": _banned(guest)}


def _banned(guest: Guest) -> bool:
    """Whether the irqbalance that runs was told to leave CPUs 1 and 3 alone: 0xa."""
    shown = guest.read("tr '\\0' '\\n' </proc/$(pidof irqbalance)/environ | grep ^IRQBALANCE_BANNED || true")
    return shown in ("IRQBALANCE_BANNED_CPULIST=1,3", "IRQBALANCE_BANNED_CPUS=a")


def _check_arguments(statuses: dict[str, str], now: dict[str, str], guest: Guest) -> None:
    holds = "isolcpus=" in now["proc/cmdline"]
    assert (now[f"{_CPU}/isolated"] == "1,3") == holds, now
    first = guest.read("grep -m1 '^[[:space:]]*linux[[:space:]]' /boot/grub/grub.cfg")
    kept = "isolcpus=" in first
    expected = {
        # Its own files may be half made still.
        (True, True): {"ok", "wrong"},
        (True, False): {"lost_at_reboot"},
        (False, True): {"pending_reboot", "wrong"},
        (False, False): {"wrong"},
    }[holds, kept]
    said = statuses["kernel_arguments"]
    assert said in expected, f"kernel_arguments is {said}; running: {holds}, in the default entry: {kept}"
    assert (statuses["core_isolation"] == "ok") <= (holds and kept), f"core_isolation is {statuses['core_isolation']}"


def _on_serving(guest: Guest) -> list[str]:
    """Interrupts that are delivered to CPU 1 or 3 and not asked away, of those that the kernel lets go."""
    shown = guest.read(
        'cd /proc/irq; for n in [0-9]*; do echo "$n|$(cat $n/effective_affinity_list)|$(cat $n/smp_affinity_list)|'
        '$(cat /sys/kernel/irq/$n/actions)"; done'
    )
    found = []
    for line in shown.splitlines():
        number, at, asked, action = line.split("|")
        # The timer, and a queue of the disk for each CPU, are the kernel's.
        if action in ("", "timer") or "-req." in action:
            continue
        if at in ("1", "3") and asked not in ("0", "2", "0,2"):
            found.append(number)
    return found
