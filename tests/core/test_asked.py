"""A snapshot of another numatune's script: what that did not look for is not known, and never "there is none"."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from datetime import date

import pytest
import streams
from synthetic import host

from numatune.core.audit import judge
from numatune.core.collecting.collector import make_script, sources
from numatune.core.collecting.snapshot import MAGIC, Snapshot, parse_stream
from numatune.core.errors import SnapshotError
from numatune.core.host import Host
from numatune.core.kit.starts import kernel_config
from numatune.core.model import State, Status
from numatune.core.profile import builtin
from numatune.core.sources import BuildOption, Command, Directory, Extract, File, ProgramWord, Source

PROFILE = builtin("inference-latency")
TODAY = date(2027, 1, 1)
Left = Callable[[Source], bool]


def collected(left: Left, files: dict[str, str] | None = None, more: str = "") -> Snapshot:
    """Return the snapshot of a host by a script that did not look for some sources, which has other files."""
    text = streams.stream(host(4, 1, 1) if files is None else files, more)
    asked = [source for source in sources() if not left(source)]
    return parse_stream(text.replace(streams.HEAD, streams.head(asked)))


def at(prefix: str) -> Left:
    return lambda source: isinstance(source, (File, Directory)) and source.path.startswith(prefix)


FILES = {
    "numa_balancing": "proc/sys/kernel/numa_balancing",
    "transparent_hugepage": "sys/kernel/mm/transparent_hugepage/enabled",
    "transparent_hugepage_defrag": "sys/kernel/mm/transparent_hugepage/defrag",
    "ksm": "sys/kernel/mm/ksm/run",
    "swappiness": "proc/sys/vm/swappiness",
    "timer_migration": "proc/sys/kernel/timer_migration",
    "cpu_governor": "sys/devices/system/cpu/cpu[0-9]*/cpufreq/",
    "cpu_idle": "sys/devices/system/cpu/cpu[0-9]*/cpuidle/",
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_was_not_looked_for_is_not_one_that_the_kernel_lacks(name: str) -> None:
    begin = re.compile(FILES[name])
    files = {path: text for path, text in host(4, 1, 1).items() if not begin.match(path)}
    findings = judge(collected(at(f"/{FILES[name]}"), files), PROFILE, TODAY).findings
    found = next(item for item in findings if item.setting == name)
    assert "built without" not in found.reason
    if found.status is Status.LOST_AT_REBOOT:
        # What the next kernel starts with is known, and wrong.
        return
    assert found.status is Status.UNKNOWN, found
    assert "was not looked for when this snapshot was collected" in found.reason, found
    assert found.remedy == "collect this host again (`numatune collect -o DIR HOST`), then judge what that writes"


def test_today_s_script_looked_for_all() -> None:
    snapshot = collected(lambda source: False)
    assert snapshot.complete
    assert (snapshot.unasked, snapshot.unanswered) == ("", frozenset())
    assert snapshot.read("/sys/kernel/mm/ksm/run").state is State.ABSENT


def test_of_a_script_that_does_not_say_what_it_looked_for_nothing_is_absent() -> None:
    snapshot = parse_stream(f"{MAGIC}\n@states\nd /proc\nd /sys\n@end\n")
    assert snapshot.read("/sys/kernel/mm/ksm/run").state is State.NOT_CAPTURED
    assert snapshot.read("/etc/sysctl.conf").state is State.NOT_CAPTURED


def test_what_was_looked_for_beside_it_is_still_absent() -> None:
    snapshot = collected(at("/etc/sysctl.d"))
    assert snapshot.read("/etc/sysctl.d/x.conf").state is State.NOT_CAPTURED
    assert snapshot.directory("/etc/sysctl.d").state is State.NOT_CAPTURED
    assert snapshot.read("/etc/sysctl.conf").state is State.ABSENT
    assert snapshot.read("/etc/tmpfiles.d/x.conf").state is State.ABSENT


def test_lines_that_were_not_picked_do_not_count_as_missing() -> None:
    option = "CONFIG_TRANSPARENT_HUGEPAGE_NEVER"
    files = host(4, 1, 1)
    files["proc/sys/kernel/osrelease"] = "6.1.0\n"
    files["boot/config-6.1.0"] = "CONFIG_NUMA_BALANCING_DEFAULT_ENABLED=y\n"
    whole = Host(collected(lambda source: False, files), PROFILE)
    assert kernel_config(whole).present
    reading = kernel_config(
        Host(collected(lambda source: isinstance(source, BuildOption) and source.name == option, files), PROFILE)
    )
    assert reading.state is State.NOT_CAPTURED
    assert "was not looked for" in reading.why()


def test_lines_that_another_expression_picked_are_not_taken_for_all() -> None:
    more = "@extract /proc/cpuinfo\n| flags : lm\n"
    assert collected(lambda source: False, more=more).read("/proc/cpuinfo").present
    other = collected(lambda source: isinstance(source, Extract) and source.path == "/proc/cpuinfo", more=more)
    assert other.read("/proc/cpuinfo").state is State.NOT_CAPTURED


def test_a_question_that_was_not_asked_has_no_answer() -> None:
    text = streams.stream(host(4, 1, 1))
    assert parse_stream(text).command("virt").state is State.ABSENT
    unasked = parse_stream(text.replace("@command virt absent\n", ""))
    assert unasked.command("virt").state is State.NOT_CAPTURED
    assert unasked.command("uname").state is State.ABSENT
    idle = parse_stream(text.replace("@command cpu_dma_latency 0\n| 2000000000\n", ""))
    found = next(item for item in judge(idle, PROFILE, TODAY).findings if item.setting == "cpu_idle")
    assert found.status is not Status.OK


def test_an_agent_whose_links_were_not_looked_for_may_start() -> None:
    files = host(4, 1, 1)
    files["sys/kernel/mm/ksm/run"] = "0\n"

    def status(left: Left) -> Status:
        report = judge(collected(left, files), PROFILE, TODAY)
        return next(item.status for item in report.findings if item.setting == "ksm")

    assert status(lambda source: False) is Status.OK
    assert status(at("/etc/systemd/system/*.wants/ksmtuned")) is Status.UNKNOWN


def test_a_real_script_says_what_it_looked_for() -> None:
    # It only reads; the machine that runs the tests stands for any Linux host.
    asked = [
        source
        for source in sources()
        if not (isinstance(source, File) and source.path == "/proc/sys/vm/swappiness")
        and not (isinstance(source, (Command, ProgramWord)) and source.name == "init")
    ]
    done = subprocess.run(["sh", "-s"], input=make_script(asked), capture_output=True, text=True, check=True)
    snapshot = parse_stream(done.stdout)
    assert snapshot.read("/proc/sys/vm/swappiness").state is State.NOT_CAPTURED
    assert snapshot.read("/proc/sys/kernel/nosuch").state is State.ABSENT
    assert snapshot.command("init").state is State.NOT_CAPTURED
    assert snapshot.read("/proc/version").present


def test_more_than_any_script_looks_for_is_refused() -> None:
    with pytest.raises(SnapshotError, match="looks for more than any script does"):
        parse_stream(f"{MAGIC}\n@asked {'0' * (1 << 17)}\n@end\n")
