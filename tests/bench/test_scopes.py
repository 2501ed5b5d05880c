"""Where the threads go, how many recorders there are, and what the result says of it."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from bench.conftest import Start
from bench.test_command import ENDED, SMALL, finish

from numatune.bench import cpus, instances, options, recorder
from numatune.bench.errors import BenchError
from numatune.bench.model import peak
from numatune.bench.placing import policy
from numatune.bench.recorder import Request
from numatune.cli import bench as command

NODES_PER_SOCKET, CORES_PER_NODE = 2, 4


@pytest.fixture
def two_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sockets of two nodes of four cores: node n has CPUs 4n to 4n+3, and their siblings 16 above."""
    monkeypatch.setattr(cpus, "allowed_cpus", lambda: list(range(32)))
    monkeypatch.setattr(cpus, "node_of_cpus", lambda: {cpu: cpu % 16 // CORES_PER_NODE for cpu in range(32)})

    def read(path: str) -> str:
        cpu = int(path.split("/cpu")[2].split("/")[0]) % 16
        if path.endswith("physical_package_id"):
            return f"{cpu // (CORES_PER_NODE * NODES_PER_SOCKET)}\n"
        return f"{cpu},{cpu + 16}\n"

    monkeypatch.setattr(cpus, "_read", read)


@pytest.mark.usefixtures("two_sockets")
class TestScope:
    """One thread per core of what was asked for."""

    def test_a_node_is_one_node(self) -> None:
        assert cpus.choose_cpus(None, None, "node") == [0, 1, 2, 3]
        assert cpus.choose_cpus(None, [1, 2, 3, 12, 13, 14, 15], "node") == [12, 13, 14, 15]

    def test_a_socket_is_all_its_nodes(self) -> None:
        assert sorted(cpus.choose_cpus(None, None, "socket")) == list(range(8))

    def test_the_socket_with_the_most_serving_cores_is_taken(self) -> None:
        assert sorted(cpus.choose_cpus(None, [*range(3, 16)], "socket")) == list(range(8, 16))

    def test_the_host_is_every_socket(self) -> None:
        assert sorted(cpus.choose_cpus(None, None, "host")) == list(range(16))

    def test_fewer_threads_still_lie_on_every_node_of_the_host(self) -> None:
        assert cpus.choose_cpus(4, None, "host") == [0, 4, 8, 12]

    def test_a_scope_is_not_left(self) -> None:
        with pytest.raises(BenchError, match=r"--threads 5: there are 4 free cores for it \(CPUs 0-3\)"):
            cpus.choose_cpus(5, None, "node")
        with pytest.raises(BenchError, match="--threads 9"):
            cpus.choose_cpus(9, None, "socket")

    @pytest.mark.parametrize(
        ("chosen", "scope"), [([0, 1], "node"), ([0, 4], "socket"), ([0, 8], "host"), ([0, 4, 8], "host")]
    )
    def test_the_narrowest_scope_is_named(self, chosen: list[int], scope: str) -> None:
        assert cpus.scope_of(chosen) == scope

    def test_an_instance_for_each_node_has_its_own_cpus_and_file(self) -> None:
        parts = instances.split(Request(instances="per-node", cpus=[2, 3, 8, 9, 24]))
        assert [(suffix, one.cpus, one.instance) for suffix, one in parts] == [
            ("-node0", (2, 3), (0, 2)),
            ("-node2", (8, 9), (1, 2)),
        ]
        assert all(one.scope == "node" for _suffix, one in parts)
        assert instances.path_of("/tmp/a.b/run.json", "-node2") == "/tmp/a.b/run-node2.json"

    def test_one_node_is_one_instance(self) -> None:
        ((suffix, one),) = instances.split(Request(instances="per-node", cpus=[4, 5]))
        assert (suffix, one.instance, one.scope) == ("", (0, 1), "node")

    @pytest.mark.parametrize(
        ("request_", "message"),
        [
            (Request(instances="per-node", scope="host"), "--scope host does not go with it"),
            (Request(instances="per-node", inject="hog"), "--inject goes with --instances one"),
            (Request(instances="per-node", threads=3, cpus=[0, 1, 2, 4]), "--threads 3: node 1 has one free core"),
        ],
    )
    def test_what_does_not_go_together_is_refused(self, request_: Request, message: str) -> None:
        with pytest.raises(BenchError, match=message):
            instances.split(request_)


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    options.add_arguments(parser)
    return parser.parse_args(words)


def test_what_is_not_said_is_the_default() -> None:
    made = options.make_request(parsed(), [0, 1], ["numatune", "bench"], "1")
    assert made == Request(cpus=[0, 1], command=("numatune", "bench"), program_version="1")


def test_cpus_that_the_user_names_are_a_scope_of_their_own() -> None:
    made = options.make_request(parsed("--cpus", "2-3"), [0, 1], [], "")
    assert (made.cpus, made.scope) == ((2, 3), "cpus")
    confined = options.make_request(parsed("--cpus", "2-3", "--scope", "socket"), [0, 1], [], "")
    assert (confined.cpus, confined.scope) == ((2, 3), "socket")


@pytest.mark.parametrize("batch", [0, 65, -1])
def test_a_batch_out_of_range_is_refused(batch: int) -> None:
    with pytest.raises(BenchError, match=f"--batch {batch}: 1 to 64"):
        recorder.check(Request(batch=batch))


@pytest.mark.parametrize(
    ("cpuinfo", "found"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512_vnni erms\n", ["avx2", "avx512f", "avx512_vnni"]),
        ("processor\t: 0\nFeatures\t: fp asimd asimddp i8mm\n", ["asimd", "asimddp", "i8mm"]),
        ("", []),
    ],
)
def test_the_instruction_sets_that_matter_are_named(cpuinfo: str, found: list[str]) -> None:
    assert cpus.instruction_sets(cpuinfo) == found


def record_small(start: Start, target: Path, *words: str) -> tuple[dict[str, Any], str]:
    """The result and what was printed."""
    code, out, err = finish(start(*SMALL, "--threads", "1", "--iterations", "8", *words, "-o", str(target)))
    assert code in ENDED, err
    return json.loads(target.read_text()), out


def test_the_result_says_how_the_run_was_placed_and_what_the_audit_finds(start: Start, tmp_path: Path) -> None:
    result, _out = record_small(start, tmp_path / "run.json", "--scope", "host")
    environment = result["environment"]
    assert environment["scope"] == "host"
    assert environment["instances"] == {"kind": "one", "index": 0, "of": 1}
    assert environment["cpu_flags"] == cpus.instruction_sets()
    assert result["roof"]["gflops"] > 0
    share = result["roof"]["roof_share"]
    assert result["roof"]["roof_unknown"].startswith("not measured") if share is None else 0 < share <= 1
    assert environment["injection"] is None
    assert environment["counter_tier"] == "B"
    assert environment["memory"] == {"asked": "default", "read_back": "none", "hides": False}
    found = {one["setting"]: one for one in result["audit"]}
    assert {"numa_balancing", "cpu_governor"} <= {*found}
    assert {*found["numa_balancing"]} == {"setting", "status", "severity", "reason"}


@pytest.mark.parametrize(
    ("roofs", "said"),
    [
        ([200.0, 150.0], {"roof_gflops": 200.0, "roof_share": 0.5}),
        ([150.0, 200.0], {"roof_gflops": 200.0, "roof_share": 0.5}),
        ([60.0, 90.0], {"roof_gflops": None, "roof_share": None, "roof_unknown": "not measured: the machine was busy"}),
        ([None, 200.0], {"roof_gflops": 200.0, "roof_share": 0.5}),
        ([None, None], {"roof_gflops": None, "roof_share": None}),
    ],
)
def test_no_share_of_the_roof_exceeds_it(roofs: list[float | None], said: dict[str, Any]) -> None:
    assert peak.describe(50_000, [1000, 1000, 9000], roofs) == {"gflops": 100.0, **said}


def test_an_explicit_memory_policy_is_set_and_said_to_hide(start: Start, tmp_path: Path) -> None:
    with contextlib.suppress(OSError):
        if policy.current().name != "none":
            pytest.skip("this process was started under a memory policy")
    result, out = record_small(start, tmp_path / "run.json", "--memory", "local")
    assert result["environment"]["memory_policy"] == "local"
    assert result["environment"]["memory"] == {"asked": "local", "read_back": "local", "hides": True}
    assert "Memory policy local" in out


@pytest.mark.usefixtures("own_cache")
class TestTogether:
    """Several recorders at the same time: on a host with one node, two that share its CPUs by name."""

    def requests(self, count: int = 2, **changed: Any) -> list[Request]:
        free = sorted(os.sched_getaffinity(0))
        if len(free) < count:
            pytest.skip("one CPU here")
        return [
            Request(
                "resnet50", 64, 1, (cpu,), 15, scope="node", instances="per-node", instance=(index, count), **changed
            )
            for index, cpu in enumerate(free[:count])
        ]

    @pytest.fixture(autouse=True)
    def busy_machine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The tests share their machine: it may be busy."""
        monkeypatch.setattr(instances.validity, "look_before_start", lambda *_cpus: [])

    def test_each_gives_its_own_result_and_they_overlap(self) -> None:
        asked = self.requests()
        steps: list[tuple[int, int]] = []
        results = instances.record_all(asked, progress=lambda done, total: steps.append((done, total)))
        for request, result in zip(asked, results, strict=True):
            environment = result["environment"]
            assert environment["pinning"]["cpus"] == str((request.cpus or [None])[0])
            assert environment["instances"]["of"] == 2
            assert result["iterations"] == 15
        assert [result["environment"]["instances"]["index"] for result in results] == [0, 1]
        assert steps[0] == (0, 15)
        assert steps[-1] == (15, 15)

    def test_where_one_fails_all_end(self) -> None:
        asked = self.requests()
        bad = [asked[0], Request("resnet50", 64, 1, (60_000,), 15, instance=(1, 2))]
        with pytest.raises(BenchError, match="instance 1: "):
            instances.record_all(bad)


def test_an_injected_run_is_labelled(start: Start, tmp_path: Path) -> None:
    result, out = record_small(start, tmp_path / "run.json", "--inject", "faults-elsewhere")
    assert result["environment"]["injection"]["kind"] == "faults-elsewhere"
    assert result["environment"]["injection"]["detail"]
    assert "Disturbed on purpose (--inject faults-elsewhere)" in out


def test_the_time_left_is_told_once_it_can_be(capsys: pytest.CaptureFixture[str]) -> None:
    now = iter([0.0, 0.0, 1.0, 3.0, 6.0, 30.0])
    bar = command.Estimate(lambda total: f"measuring {total:,} inferences", clock=lambda: next(now))
    for done in (0, 10, 30, 60, 300):
        bar.show(done, 300)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["numatune: measuring 300 inferences", "numatune: about 27 s left"]


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 s"), (59.4, "59 s"), (72, "1 min 12 s"), (3600, "1 h 0 min"), (7810, "2 h 10 min")]
)
def test_a_duration_in_words(seconds: float, words: str) -> None:
    assert command.duration(seconds) == words
