"""Runs that are cut between two settings or behind a hook: named by the next audit, finished or undone by the next run.

The run waits at the start of one task (stops_at.py), or where it starts one of its modules on the host, and is ended
there by a real signal.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Controller, FakeRoot, Run

MARK = "var/lib/numatune/run.json"
FIRST = "numatune.latency.tune : Change what is planned"
LAST = "Put the host back into service"
_LONGEST = 240.0
"""Seconds until a run stops where it is told to, and until it ends then."""


class Cuts:
    """Runs of one controller with hooks that leave a line each, and the runs that are cut."""

    def __init__(self, controller: Controller, folder: Path) -> None:
        self.controller = controller
        self.folder = folder
        self._marks = folder / "marks"
        self.hooks = {}
        for name in ("drain", "undrain"):
            self.hooks[f"numatune_{name}_tasks"] = str(folder / f"{name}.yml")
            (folder / f"{name}.yml").write_text(
                f"- name: Mark\n  ansible.builtin.lineinfile:\n    path: {self._marks}\n    create: true\n"
                f"    mode: '0644'\n    line: {name} {{{{ inventory_hostname }}}} {{{{ 99999 | random }}}}\n"
                "    insertafter: EOF\n  delegate_to: localhost\n  become: false\n  throttle: 1\n"
            )

    def marked(self) -> list[str]:
        """Return what the hooks did since the last call."""
        lines = self._marks.read_text().splitlines() if self._marks.exists() else []
        self._marks.unlink(missing_ok=True)
        return [line.rpartition(" ")[0] for line in lines]

    def arguments(self, name: str, hosts: str, *more: str) -> list[str]:
        """Return the words of one run."""
        given = {"numatune_become": False, **self.hooks}
        return [name, "--limit", hosts, "-e", json.dumps(given), *more]

    def play(self, name: str, hosts: str, *more: str) -> Run:
        """Run a playbook to its end."""
        return self.controller.play(*self.arguments(f"playbooks/{name}.yml", hosts, *more))

    def interpreter(self, number: int) -> str:
        """Return a Python for a host that waits, for the end of the run, where it is started for the numbered time."""
        count, path = self.folder / "count", self.folder / "python"
        count.unlink(missing_ok=True)
        path.write_text(
            f"#!/bin/sh\necho x >>{count}\n"
            f'[ "$(wc -l <{count})" != {number} ] || {{ cat {self.folder}/pipe >/dev/null; exit 1; }}\n'
            f'exec {sys.executable} "$@"\n'
        )
        path.chmod(0o755)
        return str(path)

    def cut(self, name: str, hosts: str, at: str, number: int, *more: str, cwd: Path | None = None) -> tuple[int, str]:
        """Run a playbook, end it by a signal, and return its exit code and what it printed.

        It is ended at the start of a task; with "" for that, where the interpreter of a host waits.
        """
        pipe = self.folder / "pipe"
        plugins = self.folder / "callbacks"
        plugins.mkdir(exist_ok=True)
        shutil.copy(Path(__file__).with_name("stops_at.py"), plugins)
        pipe.unlink(missing_ok=True)
        os.mkfifo(pipe)
        environment = self.controller.environment() | {
            "ANSIBLE_CALLBACK_PLUGINS": str(plugins),
            "ANSIBLE_COLLECTIONS_PATH": str(self.controller.repo / "collections"),
            "NUMATUNE_STOPS_AT": at or "no task has this name",
            "NUMATUNE_STOPS_PIPE": str(pipe),
        }
        words = self.arguments(name if "." in name else f"playbooks/{name}.yml", hosts, *more)
        program = str(Path(sys.executable).parent / "ansible-playbook")
        run = subprocess.Popen(
            [program, "-i", str(self.controller.inventory), *words],
            cwd=cwd or self.controller.repo,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        with contextlib.ExitStack() as left:
            left.callback(run.wait)
            left.callback(run.kill)
            held = _opened(pipe, run)
            run.send_signal(number)
            # Not before: a signal that comes just before the run reads does not end the read.
            os.close(held)
            said, _ = run.communicate(timeout=_LONGEST)
        assert "Traceback" not in said, said
        return run.returncode, said


def _opened(pipe: Path, run: subprocess.Popen[str]) -> int:
    """Wait until the run reads its pipe, and return the other end."""
    end = time.monotonic() + _LONGEST
    while time.monotonic() < end and run.poll() is None:
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
        time.sleep(0.01)
    run.kill()
    pytest.fail("the run did not come to where it is cut:\n" + run.communicate()[0])


def table(said: str) -> dict[str, str]:
    """Return host -> the rest of its row in the table of a run that was cut."""
    rows = said.partition("The run was cut:\n")[2].splitlines()
    return {host: " ".join(rest) for host, *rest in map(str.split, rows)}


def rows(run: Run) -> str:
    """Return the playbook's own table, in one line."""
    found = re.split(r"TASK \[Show (?:the state of )?every host\]", run.out)[-1]
    return " ".join(found.partition("TASK [")[0].split())


def named(root: FakeRoot) -> str:
    """Return what `numatune audit` notes of a host, which is not ok then."""
    command = [sys.executable, "-m", "numatune", "audit", "--root", str(root.path), "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LONGEST)
    (found,) = json.loads(done.stdout)["hosts"]
    assert found["status"] != "ok"
    return " ".join(found["notes"])


@pytest.fixture
def cuts(local: Controller, tmp_path: Path) -> Iterator[Cuts]:
    made = Cuts(local, tmp_path)
    yield made
    assert not made.marked(), "a hook ran that no test looked at"


@pytest.fixture
def far(controller: Controller, tmp_path: Path) -> Cuts:
    """Return the same over ssh."""
    return Cuts(controller, tmp_path)


def test_ctrl_c_between_two_settings_is_named_and_finished(far: Cuts) -> None:
    """In the second of three batches: behind the audit, the refusals, the mark and two settings."""
    more = {"middle": {"ansible_python_interpreter": far.interpreter(6)}}
    roots = {name: far.controller.root(name, **more.get(name, {})) for name in ("canary", "middle", "later")}
    hosts = ",".join(roots)
    before = roots["later"].state(journal=True)
    code, said = far.cut("tune", hosts, "", signal.SIGINT, "-e", "numatune_serial=1")
    assert code == 99, said
    states = table(said)
    assert states.pop("canary").startswith("incomplete irqbalance unknown")
    assert states == {
        "middle": "interrupted run tune.yml again, which finishes it, or revert.yml, which undoes all that numatune "
        "changed",
        "later": "not reached",
    }
    assert far.marked() == ["drain canary", "undrain canary", "drain middle"]
    assert roots["later"].state(journal=True) == before
    assert not roots["canary"].has(MARK)
    assert (roots["middle"].path / MARK).stat().st_mode & 0o777 == 0o600

    note = named(roots["middle"])
    assert "a run of tune.yml was interrupted, unless it is still under way: it began at 2" in note
    assert "changed numa_balancing, cpu_governor; the host is out of service since 2" in note
    audit = far.play("audit", "middle")
    said = " ".join(audit.out.split())
    assert "a run of tune.yml was interrupted, unless it is still under way: it began at 2" in said

    again = far.play("tune", "canary,middle")
    assert again.code == 0, again.out
    assert again.recap("canary")["changed"] == 0
    assert far.marked() == ["drain middle", "undrain middle"]
    assert not roots["middle"].has(MARK)


def test_a_controller_killed_behind_the_drain_hook_is_undone(far: Cuts) -> None:
    root = far.controller.root("killed")
    before = root.state()
    code, _said = far.cut("tune", "killed", FIRST, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert far.marked() == ["drain killed"]
    assert root.state() == before
    assert "changed nothing yet; the host is out of service since" in named(root)

    full = root.state(journal=True)
    look = far.play("revert", "killed", "--check")
    assert "would put the host back into service, out of it since 2" in look.out
    assert root.state(journal=True) == full
    assert far.marked() == []

    # It goes away after its hook: one line, and what was noted stands.
    astray = "- name: Lead astray\n  ansible.builtin.set_fact:\n    ansible_port: 1\n"
    (far.folder / "astray.yml").write_text(astray)
    away = far.play("revert", "killed", "-e", f"numatune_undrain_tasks={far.folder}/astray.yml")
    assert away.code != 0
    assert len(re.findall(r"^fatal: \[killed\]: UNREACHABLE!", away.out + away.err, flags=re.M)) == 1, away.out
    assert "caused by" not in away.out + away.err
    assert root.has(MARK)

    run = far.play("revert", "killed")
    assert run.code == 0, run.out
    assert "put the host back into service, out of it since 2" in run.out
    assert far.marked() == ["undrain killed"]
    assert root.state() == before
    assert not root.has(MARK)


def test_a_run_cut_with_all_changed_goes_back_into_service(cuts: Cuts) -> None:
    root = cuts.controller.root("whole")
    code, said = cuts.cut("tune", "whole", LAST, signal.SIGTERM)
    assert code == 99
    assert table(said)["whole"].startswith("interrupted run tune.yml again")
    assert cuts.marked() == ["drain whole"]
    tuned = root.state()
    look = cuts.play("tune", "whole", "--check")
    assert "whole would change nothing is left to change; would put it back into service (out since 2" in rows(look)
    assert cuts.marked() == []
    run = cuts.play("tune", "whole")
    assert run.changed("whole") == look.changed("whole") == ["Note on the host that the run is over"]
    assert cuts.marked() == ["undrain whole"]
    assert root.state() == tuned
    assert not root.has(MARK)


def test_the_table_is_printed_without_any_configuration(cuts: Cuts, tmp_path: Path) -> None:
    """By the collection's name, from an empty folder, as where numatune came by pip."""
    root = cuts.controller.root("looked-at")
    before = root.state(journal=True)
    empty = tmp_path / "empty"
    empty.mkdir()
    code, said = cuts.cut("numatune.latency.tune", "looked-at", FIRST, signal.SIGHUP, "--check", cwd=empty)
    assert code == 99
    assert table(said) == {"looked-at": "interrupted nothing was changed (--check)"}
    assert root.state(journal=True) == before


@pytest.mark.slow
def test_a_host_that_waits_is_named_and_a_mark_that_is_odd_is_refused(cuts: Cuts) -> None:
    root = cuts.controller.root("waits", tune_core_isolation_mode="partition", tune_core_isolation_unit="serve.service")
    before = root.state()
    assert cuts.play("tune", "waits").code == 0
    assert cuts.marked() == ["drain waits"]
    assert "out of service since 2" in named(root)
    full = root.state(journal=True)
    again = cuts.play("tune", "waits")
    assert again.recap("waits")["changed"] == 0
    assert root.state(journal=True) == full
    assert re.search(r"waits pending_reboot .*core_isolation pending_reboot; out of service since 2", rows(again))
    assert cuts.marked() == []

    root.write(MARK, "half of")
    assert "is not known; look at both, then remove that file" in named(root)
    full = root.state(journal=True)
    refused = cuts.play("tune", "waits")
    assert "run.json is not what numatune writes (it is no JSON)" in refused.failure("waits")
    assert root.state(journal=True) == full
    # A revert does what it can, and says the rest.
    assert "run.json is not what numatune writes" in cuts.play("revert", "waits").failure("waits")
    assert root.state() == before
    assert root.read(MARK) == "half of"


@pytest.mark.slow
def test_only_a_run_of_all_settings_and_with_a_hook_returns_a_host(cuts: Cuts) -> None:
    root = cuts.controller.root("held", tune_core_isolation_mode="partition", tune_core_isolation_unit="serve.service")
    before = root.state()
    assert cuts.play("tune", "held").code == 0
    assert cuts.marked() == ["drain held"]
    mark = root.read(MARK)
    part = cuts.play("tune", "held", "--tags", "numa_balancing")
    assert part.code == 0, part.out
    assert re.search(r"held tuned .*out of service since 2.*: run tune.yml without --tags and --skip-tags", rows(part))
    assert cuts.marked() == []
    assert root.read(MARK) == mark

    bare = ("--limit", "held", "-e", "numatune_become=false")
    drain = f"numatune_drain_tasks={cuts.hooks['numatune_drain_tasks']}"
    refused = cuts.controller.play("playbooks/tune.yml", *bare, "-e", drain)
    assert "numatune_drain_tasks is given without numatune_undrain_tasks" in refused.failure("held")
    kept = cuts.controller.play("playbooks/revert.yml", *bare)
    assert "-e numatune_undrain_tasks=FILE, or remove /var/lib/numatune/run.json" in " ".join(kept.out.split())
    assert "put the host back into service" not in kept.out
    assert root.state() == before
    assert "out of service since 2" in named(root)
    assert cuts.play("revert", "held").code == 0
    assert cuts.marked() == ["undrain held"]
    assert not root.has(MARK)
    assert root.state() == before


@pytest.mark.slow
def test_a_way_back_into_the_run_that_was_cut_returns_no_host(cuts: Cuts) -> None:
    # Behind the audit, the refusals, the mark and two settings.
    root = cuts.controller.root("partly", ansible_python_interpreter=cuts.interpreter(6))
    before = root.state()
    code, said = cuts.cut("tune", "partly", "", signal.SIGTERM)
    assert code == 99, said
    assert cuts.marked() == ["drain partly"]
    mark = root.read(MARK)
    generations = sorted((root.path / "var/lib/numatune/journal").glob("[0-9]*.json"))
    assert len(generations) == 2
    part = cuts.play("revert", "partly", "-e", "numatune_revert_to=1")
    assert part.code == 0, part.out
    said = " ".join(part.out.split())
    assert "run tune.yml, or revert.yml to before generation 1, which that run made (-e numatune_revert_to=0)" in said
    assert "back into service" not in said
    assert cuts.marked() == []
    assert root.read(MARK) == mark
    assert "the host is out of service since 2" in named(root)
    whole = cuts.play("revert", "partly", "-e", "numatune_revert_to=0")
    assert whole.code == 0, whole.out
    assert cuts.marked() == ["undrain partly"]
    assert not root.has(MARK)
    assert root.state() == before

    # To before that run, and not to before numatune: what was there when it began.
    assert cuts.play("tune", "partly", "--tags", "numa_balancing").code == 0
    first = root.state()
    cuts.marked()
    # One setting less is to be changed.
    cuts.interpreter(5)
    code, said = cuts.cut("tune", "partly", "", signal.SIGTERM)
    assert code == 99, said
    newest = max(int(path.name[:4]) for path in (root.path / "var/lib/numatune/journal").glob("[0-9]*.json"))
    assert cuts.play("revert", "partly", "-e", f"numatune_revert_to={newest - 1}").code == 0
    assert cuts.marked() == ["drain partly", "undrain partly"]
    assert root.state() == first
    assert not root.has(MARK)


@pytest.mark.slow
def test_what_qualify_took_out_tune_does_not_put_back(cuts: Cuts) -> None:
    root = cuts.controller.root("measured")
    before = root.state()
    code, said = cuts.cut("qualify", "measured", "numatune.latency.benchmark : ", signal.SIGINT)
    assert code == 99
    assert table(said) == {
        "measured": "interrupted run qualify.yml again, which finishes it, or revert.yml, which undoes all that "
        "numatune changed"
    }
    assert cuts.marked() == ["drain measured"]
    assert "a run of qualify.yml was interrupted" in named(root)
    run = cuts.play("tune", "measured")
    assert run.code == 0, run.out
    assert re.search(r"measured incomplete .*; out of service since 2.*, until qualify.yml puts it back", rows(run))
    assert cuts.marked() == []
    assert cuts.play("revert", "measured").code == 0
    assert cuts.marked() == ["undrain measured"]
    assert root.state() == before
    assert not root.has(MARK)


def test_a_host_that_goes_away_while_it_is_qualified_is_told_in_one_line(far: Cuts) -> None:
    root = far.controller.root("goes")
    (far.folder / "drain.yml").write_text("- name: Lead astray\n  ansible.builtin.set_fact:\n    ansible_port: 1\n")
    run = far.play("qualify", "goes")
    said = run.out + run.err
    assert run.code != 0
    assert re.search(r"goes unreachable .*Connection refused", rows(run)), rows(run)
    assert "caused by" not in said
    assert "object of type" not in said
    assert root.has(MARK)
