"""The memory walk: its parts on literal text, real short walks in their own process, and how wrong input ends."""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from bench.conftest import ROOT, Start

from numatune.bench import cpus, parsers
from numatune.bench.counters import vmstat
from numatune.bench.errors import BenchError
from numatune.bench.placing import memory, policy, walk
from numatune.bench.placing.policy import Policy
from numatune.report.runs.probe_report import conclude

SHORT = ("probe", "--seconds", "0.4", "--size", "8")
ENDED = (0, 3)  # 3 where this machine was busy: the run is recorded and marked


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def has_numa() -> bool:
    return policy.read_back() is not None


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One short walk on every core, recorded in this process."""
    from numatune.bench import probe, validity

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validity, "CLEARLY_RUNNING", 1e9)
        return probe.record(probe.Request(seconds=0.4, size=8))


VMSTAT_6_1 = (
    b"numa_pte_updates 712\nnuma_huge_pte_updates 0\nnuma_hint_faults 431\nnuma_hint_faults_local 107\n"
    b"numa_pages_migrated 324\npgmigrate_success 324\npgmigrate_fail 0\nthp_migration_success 0\nthp_mig"
)


def test_vmstat_is_parsed_and_a_cut_line_is_left_out() -> None:
    assert parsers.parse_vmstat(VMSTAT_6_1) == {
        "numa_pte_updates": 712,
        "numa_hint_faults": 431,
        "numa_hint_faults_local": 107,
        "numa_pages_migrated": 324,
        "pgmigrate_success": 324,
    }
    assert parsers.parse_vmstat(b"numa_pte_updates 7\nnuma_hint_faults 43") == {"numa_pte_updates": 7}
    assert parsers.parse_vmstat(b"\0" * 512) == {}


def readings_of(text: list[str], path: Path, monkeypatch: pytest.MonkeyPatch) -> vmstat.VmstatReadings:
    """Read each text in turn from a file that stands in for /proc/vmstat."""
    path.write_text(text[0])
    monkeypatch.setattr(vmstat, "_PATH", str(path))
    taken = vmstat.VmstatReadings(len(text))
    read = taken.reader()
    for index, content in enumerate(text):
        path.write_text(content)
        if read is not None:
            read(index)
    taken.close()
    return taken


def test_vmstat_deltas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers gain digits and move what follows them; the last reading ends with the file."""
    text = [
        f"nr_free_pages {free}\n" + "pgfault 5\n" * 500 + f"numa_pte_updates {pte}\nnuma_hint_faults {hints}\n"
        for free, pte, hints in ((9, 0, 7), (1_000_000, 65_536, 8), (10, 65_536, 70_008))
    ]
    taken = readings_of(text, tmp_path / "vmstat", monkeypatch)
    assert taken.deltas(3) == {"numa_pte_updates": [65_536, 0], "numa_hint_faults": [1, 70_000]}
    assert set(taken.unavailable) == {"numa_hint_faults_local", "numa_pages_migrated", "pgmigrate_success"}


def test_a_kernel_without_numa_balancing_counts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = readings_of(["pgmigrate_success 3\n"] * 2, tmp_path / "vmstat", monkeypatch)
    assert taken.deltas(2) == {}
    assert "has no NUMA balancing" in taken.unavailable["numa_hint_faults"]


def test_pages_are_counted_by_node() -> None:
    text = (
        "7f0000000000 default anon=9 dirty=9 N0=9 kernelpagesize_kB=4\n"
        "7f1000000000 default anon=512 dirty=512 active=0 N0=300 N1=212 kernelpagesize_kB=4\n"
        "7f1000100000 bind:0 file=/N0=5 anon=2 N10=2 kernelpagesize_kB=4\n"
        "7f1000200000 default anon=1 N1=1\n"
    )
    assert memory.parse_numa_maps(text, 0x7F1000000000, 0x7F1000200000) == {"0": 300, "1": 212, "10": 2}
    assert memory.parse_numa_maps("", 0, 1 << 60) is None


@pytest.mark.parametrize(
    ("held", "name", "hides"),
    [
        (Policy(0), "none", False),
        (Policy(4), "local", True),
        (Policy(1), "local", True),  # kernels before 5.14
        (Policy(1, (1,)), "preferred:1", True),
        (Policy(2, (0, 1)), "bind:0-1", True),
        (Policy(2 | 1 << 13, (0,)), "bind+balancing:0", False),
        (Policy(3, (0, 2)), "interleave:0,2", True),
        (Policy(9), "mode 9", True),
    ],
)
def test_a_policy_has_a_name(held: Policy, name: str, hides: bool) -> None:
    assert (held.name, held.hides_balancing) == (name, hides)


@pytest.mark.parametrize("choice", policy.CHOICES)
def test_a_policy_is_held_read_back_inherited_and_taken_back(choice: str) -> None:
    if not has_numa():
        pytest.skip("the kernel, or a filter of system calls, has no memory policies")
    before = policy.read_back()
    seen: list[str | None] = []
    node = policy.memory_nodes()[0]
    asked = policy.wanted(choice, node)
    with policy.applied(asked):
        held = policy.read_back()
        thread = threading.Thread(target=lambda: seen.append(policy.read_back()))
        thread.start()
        thread.join()
    assert held == (asked.name if asked else before)
    assert seen == [held]
    assert policy.read_back() == before


@pytest.mark.parametrize("number", [1, 38])  # EPERM of a container's filter, ENOSYS of a kernel without NUMA
def test_a_refused_policy_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    from numatune.bench import validity
    from numatune.cli import main

    def refuse(which: int, *_arguments: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(policy, "_call", refuse)
    monkeypatch.setattr(validity, "look_before_start", lambda *_cpus: [])
    assert main([*SHORT, "--memory", "bind", "-o", str(tmp_path / "r.json")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert f"refuses the memory policy bind:0: {os.strerror(number)}" in err
    assert list(tmp_path.iterdir()) == []


def test_threads_lie_on_all_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpus, "allowed_cpus", lambda: list(range(6)))
    monkeypatch.setattr(cpus, "node_of_cpus", lambda: dict(enumerate((0, 0, 0, 0, 1, 1))))
    monkeypatch.setattr(cpus, "_read", lambda path: "")
    assert cpus.spread_cpus(None) == [0, 4, 1, 5, 2, 3]
    assert cpus.spread_cpus(2) == [0, 4]
    assert cpus.spread_cpus(None, [2, 4]) == [2, 4]
    with pytest.raises(BenchError, match="--threads 7: there are 6 free cores"):
        cpus.spread_cpus(7)


def test_a_walk_reads_every_page_and_its_threads_go() -> None:
    before = threading.active_count()
    free = sorted(os.sched_getaffinity(0))[:2]
    buffer = memory.Buffer(1)
    assert len(buffer.lines) == memory.MIB // memory.STRIDE_BYTES
    with walk.walking(buffer.lines, free) as walked:
        assert walked.step() == len(buffer.lines) * len(free)
        assert threading.active_count() == before + len(free) - 1
        buffer.lines[17] = 3
        with pytest.raises(BenchError, match="not what was written"):
            walked.step()
    assert threading.active_count() == before


def test_a_worker_that_cannot_be_pinned_is_one_line() -> None:
    before = threading.active_count()
    buffer = memory.Buffer(1)
    with pytest.raises(BenchError, match="cannot pin a thread to CPU 60000"), walk.walking(buffer.lines, [0, 60_000]):
        pass
    assert threading.active_count() == before


def test_the_result(recorded: dict[str, Any]) -> None:
    environment = recorded["environment"]
    walks = recorded["iterations"]
    assert recorded["schema"] == "numatune/bench/1"
    assert (environment["model"]["name"], environment["model"]["size"]) == ("memory-walk", 8)
    assert len(recorded["latency_ns"]) == walks >= 2
    assert all(len(values) == walks for values in recorded["counters"].values())
    assert recorded["start_offset_ns"][-1] < 0.4e9 < recorded["start_offset_ns"][-1] + 2e9
    assert environment["pinning"]["ok"] is True
    working = [place for place in environment["pinning"]["verified"] if place["role"] in ("caller", "worker")]
    assert sorted(int(place["allowed"]) for place in working) == sorted(cpus.spread_cpus(None))
    held = environment["memory"]
    assert (held["asked"], environment["memory_policy"]) == ("default", policy.read_back() or "none")
    assert held["huge_pages"] in ("off (MADV_NOHUGEPAGE)", "not supported")
    if held["pages_at_start"] is not None:
        assert sum(held["pages_at_start"].values()) == sum(held["pages_at_end"].values()) == 8 * 256


def balanced(result: dict[str, Any], value: str | None, hints: int, faults: int, **held: Any) -> dict[str, Any]:
    """The result as if the kernel had done so much."""
    made = copy.deepcopy(result)
    walks = made["iterations"]
    made["environment"]["numa_balancing"] = value
    made["environment"]["memory"].update(held)
    made["counters"].update({"numa_hint_faults": [hints] + [0] * (walks - 1), "minor_faults": [0] * (walks - 1)})
    made["counters"]["minor_faults"].append(faults)
    return made


@pytest.mark.parametrize(
    ("value", "hints", "faults", "hides", "words"),
    [
        ("1", 5000, 5100, False, "NUMA balancing (numa_balancing = 1) unmapped this memory during the walk: 5,000"),
        ("1", 5000, 0, False, "did not get to this memory in that time"),  # another process's
        ("1", 0, 5000, False, "did not get to this memory in that time"),  # other faults
        ("1", 3, 0, True, "hides it: NUMA balancing (numa_balancing = 1) skips memory under it"),
        (
            "0",
            1,
            1,
            False,
            "did not act on this memory (numa_balancing = 0): 1 hinting fault on the host, 1 minor fault",
        ),
        (None, 0, 0, False, "did not act on this memory (not in this kernel)"),
    ],
)
def test_the_conclusion(
    recorded: dict[str, Any], value: str | None, hints: int, faults: int, hides: bool, words: str
) -> None:
    assert words in conclude(balanced(recorded, value, hints, faults, hides=hides))


def test_no_counter_no_conclusion(recorded: dict[str, Any]) -> None:
    made = balanced(recorded, "1", 0, 0)
    del made["counters"]["numa_hint_faults"]
    assert "is not known" in conclude(made)


def test_two_walks_are_compared_and_mixtures_are_not(recorded: dict[str, Any]) -> None:
    from verdict.made import environment

    from numatune.verdict.comparison import compare
    from numatune.verdict.errors import VerdictError
    from numatune.verdict.run import parse_run

    def later(**changes: Any) -> Any:
        made = copy.deepcopy(recorded)
        made["started"] = "2099-01-01T00:00:00Z"
        made["environment"].update(changes)
        return parse_run(made, "later.json")

    first = parse_run(recorded, "first.json")
    assert compare([first], [later()]).verdict
    model = recorded["environment"]["model"]
    for changes, words in (
        ({"model": {**model, "size": 16}}, r"differ in size \(8 and 16\)"),
        ({"model": {**model, "stride_bytes": 64}}, "differ in stride"),
        ({"memory_policy": "bind:0"}, "differ in memory policy"),
        (environment(), r"differ in model \(memory-walk and resnet152\)"),
    ):
        with pytest.raises(VerdictError, match=words):
            compare([first], [later(**changes)])


@pytest.mark.parametrize("choice", policy.CHOICES)
def test_the_command(start: Start, tmp_path: Path, choice: str) -> None:
    if choice != "default" and not has_numa():
        pytest.skip("the kernel, or a filter of system calls, has no memory policies")
    target = tmp_path / "run.json"
    code, out, err = finish(start(*SHORT, "--memory", choice, "-o", str(target)))
    assert code in ENDED, err
    result = json.loads(target.read_text())
    assert code == (3 if result["invalidating_events"] else 0)
    assert result["environment"]["memory"]["asked"] == choice
    assert result["environment"]["command"][:2] == ["numatune", "probe"]
    assert "\nmemory-walk over 8 MiB, " in out
    # What the figures come to stands before them.
    verdict = out.partition("\n\n")[0]
    assert ("does not count for a verdict" in verdict) == bool(result["invalidating_events"])
    for words in ("p50", "Counted: minor faults", "Memory: first touched on node", "hinting faults"):
        assert words in out
    if choice != "default":
        assert result["environment"]["memory_policy"].partition(":")[0] == choice
        assert "so this run hides what it does" in err
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_json_on_one_cpu(start: Start, tmp_path: Path) -> None:
    cpu = str(min(os.sched_getaffinity(0)))
    code, out, err = finish(start(*SHORT, "--cpus", cpu, "--format", "json", "-o", str(tmp_path / "r.json")))
    assert code in ENDED, err
    assert json.loads(out)["summary"]["iterations"] >= 2


def test_ctrl_c_leaves_nothing_behind(start: Start, tmp_path: Path) -> None:
    process = start("probe", "--seconds", "60", "--size", "8", "-o", str(tmp_path / "run.json"))
    assert process.stderr is not None
    for line in process.stderr:
        if "walking" in line:
            break
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    assert (code, out) == (3, "")
    assert err.strip().splitlines()[-1].startswith("numatune: interrupted")
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--size", "0"), "--size 0: the buffer has 1 MiB at least"),
        (("--size", "99999999"), "--size 99999999: only"),
        (("--size", "big"), "big"),
        (("--seconds", "0"), "--seconds 0: more than 0"),
        (("--seconds", "nan"), "--seconds nan: more than 0"),
        (("--seconds", "-1"), "--seconds -1"),
        (("--threads", "4097"), "--threads 4097: there"),
        (("--threads", "0"), "at least one thread"),
        (("--cpus", "x"), "'x' is not a list of CPUs"),
        (("--cpus", "4000"), "CPU 4000 cannot be used here"),
        (("--memory", "preferred"), "preferred"),
        (("-o", "/proc/none/r.json"), "cannot write /proc/none/r.json"),
    ],
)
def test_bad_usage_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    from numatune.cli import main

    assert main(["probe", "-o", str(tmp_path / "r.json"), *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert message in err
    assert list(tmp_path.iterdir()) == []


def python_with_numpy_alone(folder: Path) -> list[str]:
    """An interpreter that sees numpy and a copy of the package, and nothing else that is installed."""
    import sys

    import numpy

    shutil.copytree(ROOT / "numatune", folder / "numatune", ignore=shutil.ignore_patterns("__pycache__"))
    site = Path(numpy.__file__).parents[1]
    for name in site.glob("numpy*"):
        (folder / name.name).symlink_to(name)
    return [sys.executable, "-I", "-S", "-c"]


@pytest.mark.parametrize("command", ["probe", "bench"])
def test_a_target_needs_the_package_and_numpy_alone(tmp_path: Path, command: str) -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from numatune.bench import validity\n"
        "validity.CLEARLY_RUNNING = 1e9\n"
        "from numatune.cli import main\n"
        "code = main(sys.argv[1:])\n"
        "print(sorted({'jinja2', 'yaml', 'paramiko', 'fabric', 'scipy'} & {*sys.modules}))\n"
        "sys.exit(code)\n"
    )
    words = [*SHORT] if command == "probe" else ["bench", "--cpus", "0"]
    done = subprocess.run(
        [*python_with_numpy_alone(tmp_path), program, *words, "-o", str(tmp_path / "r.json")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.splitlines()[-1] == "[]"
    if command == "probe":
        assert done.returncode in ENDED, done.stderr
        assert "needs scipy, which is not installed" in done.stdout or "No spike" in done.stdout
    else:  # no engine here: it is asked for, and scipy is not
        assert done.returncode == 2
        assert "onnxruntime is not installed" in done.stderr
