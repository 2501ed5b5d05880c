"""The boot service's script, run for real by each shell on a made-up tree, and the unit that starts it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from synthetic import Link, Tree, write

from numatune.core import ours
from numatune.core.collecting.replay import collect
from numatune.core.kit import boot_service
from numatune.core.kit.boot_service import LINK_PATHS, SCRIPT, UNIT_TEXT
from numatune.core.status import Plane

CPU, IRQ, CONF = "sys/devices/system/cpu", "proc/irq", "etc/numatune/apply.d"
GOVERNOR = "cpufreq/scaling_governor"
PERFORMANCE = f"cpus 0-3 {GOVERNOR} performance\n"
# A file of the kernel's own that refuses such a list, for whatever reason `env` is made to name.
REFUSES = "/proc/self/oom_score_adj"


@pytest.fixture(params=["sh", "dash", "bash"])
def shell(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if not shutil.which(name):
        pytest.skip(f"no {name} here")
    return name


class Host:
    """A tree that the script runs on; what it calls beside the base system's tools is made up."""

    def __init__(self, root: Path, files: Mapping[str, str], programs: Mapping[str, str] | None = None) -> None:
        self.root = root
        write(files, root)
        for name, text in {"udevadm": "", "sleep": f"echo >>{root}/sleeps", **(programs or {})}.items():
            path = root / "bin" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"#!/bin/sh\n{text}\n")
            path.chmod(0o755)

    def run(self, shell: str) -> tuple[int, str, str]:
        script = SCRIPT.replace("PATH=/usr/sbin", f"PATH={self.root}/bin:/usr/sbin")
        for top in ("/sys/", "/proc/", "/etc/numatune"):
            script = script.replace(top, f"{self.root}{top}")
        (self.root / "script").write_text(script)
        done = subprocess.run(
            [shell, str(self.root / "script")], capture_output=True, text=True, check=False, timeout=60
        )
        return done.returncode, done.stdout, done.stderr

    def read(self, path: str) -> str:
        return (self.root / path).read_text()

    @property
    def sleeps(self) -> int:
        path = self.root / "sleeps"
        return len(path.read_text()) if path.exists() else 0


def governors(*cpus: int, value: str = "powersave\n") -> dict[str, str]:
    return {f"{CPU}/cpu{cpu}/{GOVERNOR}": value for cpu in cpus}


def test_values_are_set_and_set_again(shell: str, tmp_path: Path) -> None:
    host = Host(tmp_path, {f"{CONF}/a.conf": ours.HEADER + PERFORMANCE, **governors(0, 1, 2, 3)})
    for _ in range(2):
        assert host.run(shell) == (0, "", "")
        assert {host.read(path) for path in governors(0, 1, 2, 3)} == {"performance\n"}
    assert host.sleeps == 0


def test_value_that_does_not_take_fails(shell: str, tmp_path: Path) -> None:
    host = Host(
        tmp_path, {f"{CONF}/a.conf": PERFORMANCE, **governors(0, 1, 2), **governors(3, value=Link("/dev/null"))}
    )
    code, _, errors = host.run(shell)
    assert (code, "cpu3/cpufreq/scaling_governor still holds  after performance was written" in errors) == (1, True)


def test_offline_cpus_are_left_out_and_said(shell: str, tmp_path: Path) -> None:
    files = {
        f"{CONF}/a.conf": f"{PERFORMANCE}cpus 0-3 cpufreq/energy_performance_preference performance\n",
        **governors(0, 1),
        f"{CPU}/cpu0/cpufreq/energy_performance_preference": "power\n",
        f"{CPU}/cpu1/cpufreq/energy_performance_preference": "power\n",
        f"{CPU}/cpu1/online": "1\n",
        f"{CPU}/cpu2/online": "0\n",
    }
    host = Host(tmp_path, files)
    code, said, errors = host.run(shell)
    assert (code, errors, host.sleeps) == (0, "", 0)
    assert said.endswith("a.conf: offline, left out: 2 3\n")


def test_missing_files_share_one_time_to_wait(shell: str, tmp_path: Path) -> None:
    files = {f"{CONF}/a.conf": f"cpus 0-255 {GOVERNOR} performance\n"}
    files.update({f"{CPU}/cpu{cpu}/online": "1\n" for cpu in range(256)})
    host = Host(tmp_path, {**files, **governors(255)})
    code, _, errors = host.run(shell)
    assert (code, errors.count("did not appear"), host.sleeps) == (1, 255, 20)
    assert host.read(f"{CPU}/cpu255/{GOVERNOR}") == "performance\n"


def test_file_that_comes_later_is_waited_for(shell: str, tmp_path: Path) -> None:
    folder = tmp_path / CPU / "cpu3/cpufreq"
    later = f"echo >>{tmp_path}/sleeps; mkdir -p {folder}; echo powersave >{folder}/scaling_governor"
    files = {f"{CONF}/a.conf": PERFORMANCE, **governors(0, 1, 2), f"{CPU}/cpu3/online": "1\n"}
    host = Host(tmp_path, files, {"sleep": later})
    assert host.run(shell) == (0, "", "")
    assert (host.read(f"{CPU}/cpu3/{GOVERNOR}"), host.sleeps) == ("performance\n", 1)


LINES = "irqs 0 0,2\nirqs * 0,2,4\n"
PLACED = {
    f"{IRQ}/24/smp_affinity_list": "0-7\n",
    f"{IRQ}/24/node": "0\n",
    f"{IRQ}/25/smp_affinity_list": "0-7\n",
    f"{IRQ}/26/smp_affinity_list": "0-7\n",
    "sys/kernel/irq/26/actions": "\n",
}


def test_interrupts_go_to_their_nodes_cpus(shell: str, tmp_path: Path) -> None:
    host = Host(tmp_path, {f"{CONF}/a.conf": LINES, **PLACED})
    code, said, errors = host.run(shell)
    assert (code, said, errors) == (0, "numatune-apply: moved 2 interrupts; the kernel keeps 0 where they are\n", "")
    assert [host.read(f"{IRQ}/{number}/smp_affinity_list") for number in (24, 25, 26)] == ["0,2\n", "0,2,4\n", "0-7\n"]


KEPT = ("Input/output error", "Operation not permitted")
FAILED = ("No space left on device", "Invalid argument", "Device or resource busy", "Permission denied")


@pytest.mark.parametrize("why", [*KEPT, *FAILED])
def test_what_the_kernel_keeps_is_told_from_what_fails(why: str, shell: str, tmp_path: Path) -> None:
    files = {f"{CONF}/a.conf": LINES, **PLACED, f"{IRQ}/24/smp_affinity_list": Link(REFUSES)}
    host = Host(tmp_path, files, {"env": f"echo 'printf: write error: {why}' >&2; exit 1"})
    code, said, errors = host.run(shell)
    assert f"moved 1 interrupts; the kernel keeps {int(why in KEPT)} " in said
    assert code == (0 if why in KEPT else 1)
    assert (f"irq/24/smp_affinity_list refused 0,2: {why}" in errors) is (why in FAILED)


def test_the_kernels_own_refusal_is_named(shell: str, tmp_path: Path) -> None:
    host = Host(tmp_path, {f"{CONF}/a.conf": LINES, f"{IRQ}/24/smp_affinity_list": Link(REFUSES)})
    code, _, errors = host.run(shell)
    assert (code, "refused 0,2,4: Invalid argument" in errors) == (1, True)


UNREADABLE: dict[str, dict[str, str]] = {
    "no interrupts": {},
    "no list": {f"{IRQ}/24/node": "0\n"},
    "a folder": {f"{IRQ}/24/smp_affinity_list/x": ""},
}


@pytest.mark.parametrize("files", UNREADABLE.values(), ids=UNREADABLE)
def test_first_interrupt_that_cannot_be_read_stops_nothing(files: dict[str, str], shell: str, tmp_path: Path) -> None:
    later = {f"{CONF}/b.conf": PERFORMANCE, **governors(0, 1, 2, 3)}
    host = Host(tmp_path, {f"{CONF}/a.conf": LINES, **files, **later})
    code, _, errors = host.run(shell)
    assert "parameter not set" not in errors
    assert "unbound variable" not in errors
    assert {host.read(path) for path in governors(0, 1, 2, 3)} == {"performance\n"}
    assert code == int("a folder" in UNREADABLE and files is UNREADABLE["a folder"])


MASKS = {
    "same": ("ff\n", "ff", "ff\n"),
    "wider": ("00000000,000000ff\n", "ff", "00000000,000000ff\n"),
    "narrower": ("f0000000\n", "0,f0000000", "f0000000\n"),
    "none set": ("00\n", "0", "00\n"),
    "another": ("00000000,000000ff\n", "0f", "0f\n"),
    "another, by its commas": ("1,00000000\n", "100000000", "1,00000000\n"),
}


@pytest.mark.parametrize(("now", "mask", "then"), MASKS.values(), ids=MASKS)
def test_masks_are_compared_by_what_they_hold(now: str, mask: str, then: str, shell: str, tmp_path: Path) -> None:
    path = f"{IRQ}/default_smp_affinity"
    host = Host(tmp_path, {f"{CONF}/a.conf": f"default-irqs {mask}\n", path: now})
    assert host.run(shell) == (0, "", "")
    assert host.read(path) == then


@pytest.mark.parametrize(
    ("group", "code"), [("", 0), ("/numatune.slice/infer.service", 0), ("/system.slice/infer.service", 1)]
)
def test_partition_is_made_unless_its_unit_runs_outside(group: str, code: int, shell: str, tmp_path: Path) -> None:
    file = "sys/fs/cgroup/numatune.slice/cpuset.cpus.partition"
    lines = f"partition numatune.slice root infer.service\n{PERFORMANCE}"
    # One that reads its standard input must not take the lines that follow.
    systemctl = f"cat >/dev/null; [ $1 != show ] || echo '{group}'"
    host = Host(
        tmp_path,
        {f"{CONF}/a.conf": lines, file: "member\n", **governors(0, 1, 2, 3)},
        {"systemctl": systemctl},
    )
    assert host.run(shell)[0] == code
    assert host.read(file) == ("member\n" if code else "root\n")
    assert {host.read(path) for path in governors(0, 1, 2, 3)} == {"performance\n"}


def unit(key: str) -> list[str]:
    return [
        word for line in UNIT_TEXT.splitlines() if line.startswith(f"{key}=") for word in line.partition("=")[2].split()
    ]


def test_unit_follows_tuned_alone_and_waits_for_the_network_that_it_asks_for() -> None:
    assert unit("PartOf") == ["tuned.service"], "a restart of irqbalance restarts nothing"
    assert set(unit("PartOf")) <= set(unit("After"))
    assert unit("Wants") == ["network-online.target"]
    assert {"network-online.target", "irqbalance.service"} <= set(unit("After"))
    assert unit("TimeoutStartSec") == ["120"]


def test_each_unit_that_wants_it_has_its_link() -> None:
    """PartOf= passes on that TuneD stops, not that it starts again: that is what its own link is for."""
    wanted = {f"/etc/systemd/system/{name}.wants/{ours.UNIT}" for name in unit("WantedBy")}
    assert set(LINK_PATHS) == wanted == {path for path in wanted if "tuned.service" in path or "multi-user" in path}
    assert len(wanted) == 2


@pytest.mark.parametrize("path", [*LINK_PATHS, boot_service.SCRIPT_PATH, boot_service.UNIT_PATH])
def test_what_is_missing_of_the_service_is_made_whole(path: str) -> None:
    files: dict[str, str] = {"proc/x": "", "sys/x": ""}
    lines = ["cpus 0 x y"]
    for change in boot_service.changes(collect(Tree(files), True), "s", lines, "why"):
        files[change.path[1:]] = Link(change.content) if change.kind == "link" else change.content or ""
    whole = collect(Tree(files), True)
    assert boot_service.starts(whole).plane is Plane.RIGHT
    assert boot_service.changes(whole, "s", lines, "why") == ()
    del files[path[1:]]
    # A link whose target is gone leads nowhere.
    cut = collect(Tree(files), True)
    assert boot_service.starts(cut).plane is not Plane.RIGHT
    assert [change.path for change in boot_service.changes(cut, "s", lines, "why")] == [path]
