"""`numatune audit`, `collect` and `plan` over a fleet, as users and programs meet them; the hosts are made up."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import streams
from fleet import crew_fakes as fakes
from fleet.sshd import Sshd, free_port
from synthetic import host

from numatune.cli import main, output
from numatune.cli.errors import CliError
from numatune.cli.progress import Display
from numatune.fleet import inventory, transports, worker_processes
from numatune.fleet.events import Progress
from numatune.transport.endpoint import Become, Target
from numatune.transport.failure import Failure
from numatune.transport.limits import Limits
from numatune.transport.output_memory import Place

RIGHT = streams.stream(host(4, 1, 1))
WRONG = streams.stream(host(4, 1, 1, numa_balancing="1", sysctl={}))


class Hosts:
    """Answers as an alias says: `ok…`, `wrong…`, `denied…`, `refused…`; `stop…` presses Ctrl-C and hangs. An opener.

    `late…` and `lost…` are ended by a deadline while this process is stopped; `late…` answers when it is asked again.
    """

    def __init__(self) -> None:
        self.asked: set[str] = set()

    def collect(self, target: Target, script: str, limits: Limits, place: Place | None = None) -> str:
        """Answer or fail."""
        alias, where = target.endpoint.alias, f"{target.endpoint.hostname}:22"
        if alias.startswith("denied"):
            raise Failure("auth", f"{where} takes none of the keys offered: add one to authorized_keys")
        if alias.startswith("refused"):
            raise Failure("tcp", f"{where}: connection refused after 0.{len(alias)} s: is sshd running?")
        if alias.startswith("stop"):
            os.kill(os.getppid(), signal.SIGINT)
            threading.Event().wait()
        if alias.startswith("lost") or (alias.startswith("late") and alias not in self.asked):
            self.asked.add(alias)
            fakes.sleep_through()
            raise Failure("banner", f"{where}: no version line", late=True)
        if alias.startswith("evil"):
            return WRONG.replace("/proc/sys/kernel/numa_balancing:1", "/proc/sys/kernel/numa_balancing:1\x1b[2J")
        return WRONG if alias.startswith("wrong") else RIGHT

    def close(self) -> None:
        """Nothing is shared."""


class Ran:
    """One call of numatune: its exit code and what it wrote."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        """The report on stdout."""
        return json.loads(self.out)


Numatune = Callable[..., Ran]


@pytest.fixture
def numatune(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Numatune:
    """Run numatune over hosts that are made up; its home is empty."""

    def targets(inventories: Sequence[str], pattern: str | None, words: Sequence[str], options: Any) -> list[Target]:
        return [fakes.target(word, hostname=f"10.0.0.{number}") for number, word in enumerate(words)]

    monkeypatch.setattr(inventory, "targets", targets)
    monkeypatch.setattr(transports, "find", lambda *_: Hosts)
    # What a test changes in this process only a forked worker has, whatever other threads the tests' runner has here.
    monkeypatch.setattr(worker_processes, "is_alone", lambda: True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)

    def run(*words: object) -> Ran:
        code = main([str(word) for word in words])
        return Ran(code, *capsys.readouterr())

    return run


def names(report: Any) -> list[str]:
    return [found["name"] for found in report["hosts"]]


def test_an_audit_of_a_fleet_is_the_contract_in_the_order_asked_for(numatune: Numatune, tmp_path: Path) -> None:
    words = [f"{kind}{number}" for number in range(5) for kind in ("wrong", "denied", "ok")]
    ran = numatune("audit", *words, "--format", "json", "--report", f"json={tmp_path / 'r.json'}")
    report = ran.json
    assert ran.code == 3
    assert names(report) == words
    assert (report["schema"], report["partial"]) == ("numatune/audit/1", False)
    assert report["summary"]["hosts"] == 15
    assert report["summary"]["unreachable"] == 5
    assert report["hosts"][1]["status"] == "unreachable"
    assert report["hosts"][1]["error"]["phase"] == "auth"
    assert report["hosts"][1]["findings"] == []
    one = numatune("audit", "wrong0", "--format", "json").json["hosts"][0]
    assert report["hosts"][0] == one
    assert json.loads((tmp_path / "r.json").read_text()) == report
    # A host a line: grep finds it.
    assert sum('"name":"wrong3"' in line for line in ran.out.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["wrong", "--require", "numa_balancing"], 1),
        (["ok", "denied"], 3),
        (["ok", "wrong", "refused", "--require", "numa_balancing"], 3),
        (["wrong", "--fail-on", "critical", "--require", "numa_balancing"], 1),
    ],
)
def test_exit_codes(words: list[str], code: int, numatune: Numatune) -> None:
    assert numatune("audit", *words).code == code


def test_ten_lines_tell_of_a_large_fleet(numatune: Numatune, tmp_path: Path) -> None:
    words = [*(f"wrong{n}" for n in range(12)), *(f"denied{n}" for n in range(9)), *(f"refused{n}" for n in range(3))]
    ran = numatune("audit", *words, "--report", f"text={tmp_path / 'r.txt'}")
    text = " ".join(ran.out.split())
    assert ran.out.splitlines()[0].startswith("24 hosts: ")
    assert "9 hosts: auth: HOST:22 takes none of the keys offered" in text
    assert "denied0, denied1, denied2 and 6 more" in text
    assert "3 hosts: tcp: HOST:22: connection refused after … s" in text
    assert "numa_balancing wrong = 1, want 0 [critical]: 12 of 12 hosts: wrong0, wrong1, wrong2 and 9 more" in text
    assert len(ran.out.splitlines()) < 25
    whole = (tmp_path / "r.txt").read_text()
    assert whole.startswith("24 hosts: ")
    assert all(f"\n{word}: " in whole for word in words)
    assert "\nwrong7: " in numatune("audit", *words, "--details").out


def test_few_hosts_are_shown_one_by_one_and_one_alone_as_this_machine_is(numatune: Numatune) -> None:
    ran = numatune("audit", "wrong1", "denied1")
    assert ran.out.startswith("2 hosts: ")
    assert "\n\nwrong1: " in ran.out
    assert ran.out.endswith("denied1: unreachable (auth): 10.0.0.1:22 takes none of the keys offered: add one to "
                            "authorized_keys\n")  # fmt: skip
    assert numatune("audit", "wrong1").out.startswith("wrong1: ")


def test_a_host_that_is_away_wins_over_findings_and_the_report_has_both_counts(numatune: Numatune) -> None:
    words = ("--require", "numa_balancing", "--format", "json")
    assert numatune("audit", "wrong1", *words).code == 1
    ran = numatune("audit", "wrong1", "denied1", *words)
    assert ran.code == 3
    assert ran.json["summary"] == {
        "hosts": 2,
        "ok": 0,
        "findings": 1,
        "incomplete": 0,
        "unreachable": 1,
        "not_judged": 0,
    }


def test_a_target_cannot_steer_the_terminal(numatune: Numatune) -> None:
    ran = numatune("audit", "evil", "evil2", "ok\x1b[31m", "denied\x1b[2J")
    assert "\x1b" not in ran.out + ran.err
    assert "evil" in ran.out


def test_ctrl_c_keeps_what_is_finished(numatune: Numatune, tmp_path: Path) -> None:
    words = ["ok1", "wrong1", "stop", "ok2"]
    ran = numatune("audit", *words, "--forks", "1", "--format", "json", "--report", f"text={tmp_path / 'r'}")
    assert ran.code == 3
    assert ran.json["partial"] is True
    assert ran.json["asked"] == 4
    assert names(ran.json) == ["ok1", "wrong1"]
    assert "stopped before 2 of 4 hosts had answered" in (tmp_path / "r").read_text()
    with sqlite3.connect(tmp_path / "home/.local/state/numatune/history.sqlite") as db:
        assert db.execute("SELECT partial, finished IS NOT NULL, hosts FROM runs").fetchall() == [(1, 1, 4)]
        assert db.execute("SELECT name FROM hosts ORDER BY place").fetchall() == [("ok1",), ("wrong1",)]
    alone = numatune("audit", "stop")
    assert (alone.code, alone.out.splitlines()[0][:7]) == (3, "0 hosts")
    # What was not asked is what a retry asks.
    again = numatune("audit", "ok1", "wrong1", "ok0", "ok2", "--format", "json", "--retry-failed",
                     tmp_path / "home/.local/state/numatune/history.sqlite")  # fmt: skip
    assert names(again.json) == ["ok1", "wrong1", "ok0", "ok2"]
    assert again.json["retried"]["hosts"] == 2


def test_hosts_that_were_asked_again_are_in_the_report(numatune: Numatune, tmp_path: Path) -> None:
    words = ["ok0", "late1", "lost2", "denied3"]
    ran = numatune("audit", *words, "--forks", "1", "--report", f"json={tmp_path / 'r.json'}")
    report = json.loads((tmp_path / "r.json").read_text())
    found = {entry["name"]: entry for entry in report["hosts"]}
    assert report["asked_again"] == {"hosts": 2, "answered": 1}
    assert "2 hosts were to be asked again at the end, 1 answered; fewer --forks help" in ran.err
    assert "answered at the second try: this machine was late by" in found["late1"]["notes"][-1]
    assert "answered at the second try" not in str(found["ok0"])
    assert "(the second try, since this machine was late by" in found["lost2"]["error"]["message"]
    assert ran.code == 3
    again = numatune("audit", *words, "--retry-failed", tmp_path / "r.json", "--format", "json").json
    assert again["retried"]["hosts"] == 2
    assert "answered at the second try" in str(again["hosts"][1]["notes"])


def test_a_run_that_was_on_time_says_nothing_of_second_tries(numatune: Numatune) -> None:
    ran = numatune("audit", "ok0", "refused1", "--format", "json")
    assert "asked_again" not in ran.json
    assert "again" not in ran.err


@pytest.mark.parametrize("command", ["plan", "collect"])
def test_plan_and_collect_say_it_too(command: str, numatune: Numatune, tmp_path: Path) -> None:
    more = ["-o", tmp_path / "out"] if command == "collect" else []
    ran = numatune(command, "late1", "ok2", "--forks", "1", *more)
    assert "1 host was to be asked again at the end, 1 answered" in ran.err
    assert ran.code in (0, 1)


def test_what_is_read_differently_is_said_once_on_stderr(
    numatune: Numatune, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0 " + bytes(32)).decode()
    (tmp_path / "known").write_text(f"@cert-authority *.example ssh-ed25519 {key}\nno key at all\x1b[2J\n")
    (tmp_path / "unread\x1b[2J").mkdir()
    known = (str(tmp_path / "known"), str(tmp_path / "unread\x1b[2J"))
    said = "StrictHostKeyChecking no is read as yes"

    def targets(inventories: Sequence[str], pattern: str | None, words: Sequence[str], options: Any) -> list[Target]:
        ends = (fakes.endpoint(word) for word in words)
        return [Target(replace(end, known_hosts=known, notes=(said,)), refused="no") for end in ends]

    monkeypatch.undo()
    monkeypatch.setattr(inventory, "targets", targets)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    ran = numatune("audit", "a\x1b[31m", "b", "c", "--format", "json")
    assert ran.code == 3
    assert ran.json["summary"]["unreachable"] == 3
    assert "\x1b" not in ran.err
    lines = ran.err.splitlines()
    assert lines[0] == f"numatune: a [31m and 2 more: {said}"
    assert "known: line 1: @cert-authority is not used" in lines[1]
    assert "known: line 2: skipped" in lines[2]
    assert "unread [2J: Is a directory" in lines[3]
    assert len(lines) == 4


@pytest.mark.parametrize("source", ["json", "store"])
def test_a_retry_asks_the_failed_alone_and_its_report_is_whole(
    source: str, numatune: Numatune, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = ["ok1", "denied1", "wrong1", "denied2"]
    store = tmp_path / "s"
    first = numatune("audit", *words, "--store", store, "--report", f"json={tmp_path / 'r.json'}", "--format", "json")
    asked = tmp_path / "asked"

    class Mended(Hosts):
        def collect(self, target: Target, script: str, limits: Limits, place: Place | None = None) -> str:
            with asked.open("a") as log:
                log.write(target.endpoint.alias + "\n")
            return RIGHT if target.endpoint.alias == "denied1" else super().collect(target, script, limits, place)

    monkeypatch.setattr(transports, "find", lambda *_: Mended)
    retry = ("--retry-failed", tmp_path / "r.json" if source == "json" else store)
    second = numatune("audit", *words, "new", *retry, "--store", store, "--format", "json")
    assert sorted(asked.read_text().split()) == ["denied1", "denied2", "new"]
    assert second.code == 3
    report = second.json
    assert names(report) == [*words, "new"]
    assert report["summary"] == {"hosts": 5, "ok": 0, "findings": 0, "incomplete": 4, "unreachable": 1, "not_judged": 0}
    assert report["retried"] == {
        "from": str(retry[1]), "started": first.json["started"], "hosts": 3, "carried": 2
    }  # fmt: skip
    carried = dict(report["hosts"][2])
    assert carried.pop("judged") == first.json["started"]
    assert carried == first.json["hosts"][2]
    assert "judged" not in report["hosts"][1]
    # And once more, from the whole that this made.
    asked.unlink()
    third = numatune("audit", *words, "new", "--retry-failed", store, "--store", store)
    assert asked.read_text().split() == ["denied2"]
    assert "1 asked again, 4 carried over from" in third.out


def test_a_retry_by_another_measure_is_refused(numatune: Numatune, tmp_path: Path) -> None:
    numatune("audit", "ok1", "denied1", "--report", f"json={tmp_path / 'r.json'}")
    (tmp_path / "p.yml").write_text("name: mine\n")
    for more in (["--profile", tmp_path / "p.yml"], ["--fail-on", "info"], ["--require", "cpu_idle"]):
        ran = numatune("audit", "ok1", "denied1", "--retry-failed", tmp_path / "r.json", *more)
        assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
        assert str(more[0]) in ran.err


def test_collect_writes_a_file_per_host_and_none_elsewhere(numatune: Numatune, tmp_path: Path) -> None:
    words = ["ok1", "../ok", "/etc/passwd", "ok/1", "ok_1", "..", ".hidden", "ok\n1", "x" * 300, "denied1"]
    ran = numatune("collect", *words, "-o", tmp_path / "out")
    assert ran.code == 3
    made = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert len(made) == 9
    assert {f"{name}.numatune.gz" for name in ("ok1", "ok_1")} <= set(made)
    assert sorted(ran.out.split("\n")[:-1]) == [str(tmp_path / "out" / name) for name in made]
    assert gzip.decompress((tmp_path / "out/ok1.numatune.gz").read_bytes()).decode() == RIGHT
    assert "10 hosts: 9 saved, 1 not reached" in ran.err
    assert "1 host: auth: HOST:22 takes none" in ran.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "out"]
    judged = numatune("audit", "--snapshot", tmp_path / "out/ok1.numatune.gz", "--format", "json").json
    assert judged["hosts"][0]["findings"] == numatune("audit", "ok1", "--format", "json").json["hosts"][0]["findings"]


def test_collect_goes_on_where_it_failed(numatune: Numatune, tmp_path: Path) -> None:
    numatune("collect", "ok1", "denied1", "-o", tmp_path / "a", "--store", tmp_path / "s")
    for _ in range(2):
        ran = numatune("collect", "ok1", "denied1", "-o", tmp_path / "b", "--store", tmp_path / "s",
                       "--retry-failed", tmp_path / "s")  # fmt: skip
        assert ran.code == 3
        assert list((tmp_path / "b").iterdir()) == []


def test_plan_of_a_fleet(numatune: Numatune) -> None:
    ran = numatune("plan", "wrong1", "denied1", "--format", "json")
    wrong, denied = ran.json["hosts"]
    assert (ran.code, ran.json["schema"]) == (3, "numatune/plan/1")
    assert ran.json["summary"] == {
        "hosts": 2,
        "ok": 0,
        "findings": 1,
        "incomplete": 0,
        "unreachable": 1,
        "not_judged": 0,
    }
    assert "99-zz-numatune.conf" in json.dumps(wrong["changes"])
    assert denied == {"name": "denied1", "error": {"phase": "auth", "message": denied["error"]["message"]}}
    text = numatune("plan", "wrong1", "denied1").out
    assert text.startswith("wrong1: tune.yml would make ")
    assert "\ndenied1: unreachable (auth): " in text
    assert "2 hosts: 1 with changes or conflicts, 0 without, 1 not reached" in text
    assert numatune("plan", "wrong1").code == 0
    assert numatune("plan", "wrong1", "--detailed-exitcode").code == 1


def test_no_secret_is_kept_or_shown(numatune: Numatune, tmp_path: Path) -> None:
    ran = numatune(
        "audit", "ok1", "denied1", "wrong1", "--report", f"json={tmp_path / 'r.json'}", "--store", tmp_path / "s"
    )
    for text in (ran.out, ran.err, (tmp_path / "r.json").read_text(), (tmp_path / "s").read_bytes().decode("latin-1")):
        assert fakes.PASSWORD not in text
    with sqlite3.connect(tmp_path / "s") as db:
        assert fakes.PASSWORD not in "".join(map(str, db.iterdump()))


def test_the_store_is_private_and_none_is_none(numatune: Numatune, tmp_path: Path) -> None:
    numatune("audit", "ok1", "--store", "none")
    assert not (tmp_path / "home").exists()
    numatune("audit", "ok1")
    path = tmp_path / "home/.local/state/numatune/history.sqlite"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    numatune("audit", "--root", tmp_path)
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT command, profile FROM runs").fetchall() == [("audit", "inference-latency")]


def test_a_store_that_cannot_be_used_is_said_before_any_host_is_asked(numatune: Numatune, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database\n" * 100)
    ran = numatune("audit", "stop", "--store", tmp_path / "text")
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert "--store none" in ran.err


def test_a_report_that_cannot_be_written_is_said_before_any_host_is_asked(numatune: Numatune, tmp_path: Path) -> None:
    ran = numatune("audit", "stop", "--report", f"json={tmp_path / 'missing/r.json'}")
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)


def test_a_report_that_cannot_be_written_at_the_end_costs_that_file_alone(
    numatune: Numatune, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write = output.write_whole

    def full(path: Path, data: Any, *more: Any) -> None:
        if path.name == "full":
            raise CliError(f"{path}: cannot be written: No space left on device")
        write(path, data, *more)

    monkeypatch.setattr(output, "write_whole", full)
    reports = ("--report", f"json={tmp_path / 'full'}", "--report", f"json={tmp_path / 'whole'}")
    ran = numatune("audit", "ok1", "denied1", "--format", "json", *reports)
    assert ran.code == 2
    assert "No space left" in ran.err
    assert names(ran.json) == names(json.loads((tmp_path / "whole").read_text())) == ["ok1", "denied1"]


@pytest.mark.parametrize(
    ("facts", "mode"),
    [({}, 0o640), ({"become": Become()}, 0o600), ({"user": "root"}, 0o600), ({"sure": False}, 0o600)],
    ids=["user", "sudo", "root", "only ssh can tell"],
)
def test_a_report_of_what_root_read_is_for_its_owner_alone(
    numatune: Numatune, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, facts: dict[str, Any], mode: int
) -> None:
    target = fakes.target("ok1")
    target = replace(target, endpoint=replace(target.endpoint, **{"user": "bob", **facts}))
    monkeypatch.setattr(inventory, "targets", lambda *_: [target])
    before = os.umask(0o027)
    try:
        ran = numatune("audit", "ok1", "--report", f"json={tmp_path / 'report'}")
    finally:
        os.umask(before)
    assert ran.code in (0, 1, 3), ran.err
    assert (tmp_path / "report").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("audit -l web", "-i"),
        ("audit web1 -l web", "-i"),
        ("audit -i hosts --root /", "--root"),
        ("audit web1 --root /", "web1"),
        ("audit web1 --snapshot x", "--snapshot"),
        ("audit --forks 4", "--forks"),
        ("audit --become", "--become"),
        ("audit web1 --forks 0", "--forks"),
        ("audit web1 --timeout nan", "--timeout"),
        ("audit web1 --transport telnet", "--transport"),
        ("audit web1 --host-keys off", "--host-keys"),
        ("audit web1 --ask-vault-pass", "-i"),
        ("audit web1 --retry-failed missing", "missing"),
        ("plan --retry-failed x", "--retry-failed"),
        ("collect web1 --print-script", "--print-script"),
        ("collect web1", "-o DIR"),
        ("audit web1 --pid 1", "--pid"),
        ("collect --unit x web1", "--unit"),
    ],
)
def test_what_does_not_go_together_is_one_line(words: str, named: str, numatune: Numatune) -> None:
    ran = numatune(*words.split())
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert named in ran.err


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_progress_is_a_line_on_a_terminal_and_two_in_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    state = Progress(1000, {"ok": 10, "unreachable": 2}, {"tcp": 2}, 50, 4.0)
    monkeypatch.setenv("TERM", "xterm")
    terminal, log, few = Terminal(), io.StringIO(), io.StringIO()
    for stream, hosts in ((terminal, 1000), (log, 1000), (few, 3)):
        with Display(stream, "audit of 1,000 hosts, 50 at a time", hosts) as display:
            display.update(state)
            display.update(state)
    assert terminal.getvalue().count("\r") == 3
    assert "\n" not in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")
    assert log.getvalue().splitlines()[0] == "numatune: audit of 1,000 hosts, 50 at a time"
    assert log.getvalue().count("\n") == 2
    assert "12/1,000" in log.getvalue()
    assert few.getvalue() == ""


@pytest.mark.parametrize("transport", ["paramiko", "openssh"])
def test_over_real_ssh(transport: str, sshd: Sshd, tmp_path: Path) -> None:
    """A real server, a real inventory, the program as it is started: read, unknown key, nobody there."""
    known = sshd.known(["127.3.0.1", "127.3.0.2", "127.3.0.4"], tmp_path / "known")
    hosts = {f"serve{number}": sshd.variables(f"127.3.0.{number}") for number in (1, 2, 3, 4)}
    for variables in hosts.values():
        variables["ansible_ssh_common_args"] = str(variables["ansible_ssh_common_args"]).replace(
            str(sshd.known_hosts), str(known)
        )
    hosts["serve4"]["ansible_port"] = free_port()
    (tmp_path / "hosts.json").write_text(json.dumps({"serving": {"hosts": hosts}}))
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")}
    words = ["audit", "-i", "hosts.json", "-l", "serving", "--transport", transport, "--format", "json"]
    done = subprocess.run(
        [sys.executable, "-m", "numatune", *words],
        capture_output=True,
        text=True,
        env={**environment, "PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=tmp_path,
        timeout=120,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    report = json.loads(done.stdout)
    phases = [found["error"] and found["error"]["phase"] for found in report["hosts"]]
    assert names(report) == ["serve1", "serve2", "serve3", "serve4"]
    # Known is [address]:port: the fourth's port is another, on which nobody listens.
    assert phases == [None, None, "hostkey", "tcp"]
    assert report["hosts"][0]["facts"]["kernel"] == os.uname().release


@pytest.mark.parametrize("transport", ["paramiko", "openssh"])
def test_keys_that_are_trusted_because_they_are_new_are_said(transport: str, sshd: Sshd, tmp_path: Path) -> None:
    known = tmp_path / "known"
    known.write_text("".join(sshd.known_lines(["127.3.1.1"])))
    hosts = {f"serve{number}": sshd.variables(f"127.3.1.{number}") for number in (1, 2, 3)}
    for variables in hosts.values():
        words = str(variables["ansible_ssh_common_args"]).replace(str(sshd.known_hosts), str(known))
        variables["ansible_ssh_common_args"] = words.replace("StrictHostKeyChecking=yes", "HashKnownHosts=no")
    (tmp_path / "hosts.json").write_text(json.dumps({"serving": {"hosts": hosts}}))
    command = [sys.executable, "-m", "numatune", "audit", "-i", "hosts.json", "--host-keys", "accept-new"]

    def audit() -> str:
        environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
        done = subprocess.run(
            [*command, "--transport", transport, "--store", "none"],
            capture_output=True,
            text=True,
            env=environment,
            cwd=tmp_path,
            timeout=120,
            check=False,
        )
        assert "unreachable (" not in done.stdout
        return done.stderr

    said = audit()
    assert f"new, trusted and added to {known}: " in said
    assert "127.3.1.2" in said
    assert "127.3.1.1" not in said
    assert "trusted and added" not in audit()


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "2>&- >&- <&-", "2>/dev/full"])
def test_a_closed_stream_does_not_turn_an_unreachable_host_into_findings(closed: str, tmp_path: Path) -> None:
    words = f"{sys.executable} -m numatune audit 127.0.0.1:{free_port()} -F none --store none {closed}"
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(["sh", "-c", words], env=environment, cwd=tmp_path, timeout=60, check=False)
    assert done.returncode == 3
