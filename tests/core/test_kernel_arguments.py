"""The life of kernel arguments: tried in one boot, made permanent, taken out; every stop half-way is finished."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import pytest
from core.bls_trees import TREES
from core.grub_cfg import debian
from core.machine import Machine

from numatune.core.errors import InputError
from numatune.core.parsers import cmdline, grub

WANTED = {"skew_tick": "1", "nosmt": None, "irqaffinity": "0,2"}
TEXT = "skew_tick=1 nosmt irqaffinity=0,2"
HOSTS: dict[str, Mapping[str, str]] = {
    "debian": debian(normal="quiet skew_tick=0"),
    "debian, saved": {
        **debian(default="${saved_entry}"),
        "boot/grub/grubenv": grub.with_variable("", "saved_entry", "1>2"),
    },
    "debian, cloud image": {
        **debian(normal="console=tty1 console=ttyS0"),
        "etc/default/grub.d/50-cloudimg-settings.cfg": 'GRUB_CMDLINE_LINUX_DEFAULT="console=tty1 console=ttyS0"\n',
    },
    **TREES,
}
NOTE = "/etc/numatune/kernel-arguments"


def machine(name: str) -> Machine:
    made = Machine(HOSTS[name], {})
    made.ask(WANTED)
    return made


def values(line: str) -> list[list[str]]:
    return [cmdline.values(line, key) for key in WANTED]


RIGHT = [["1"], [""], ["0,2"]]
hosts = pytest.mark.parametrize("name", HOSTS)
some_hosts = pytest.mark.parametrize("name", ["debian", "rhel8", "rhel9", "fedora"])


@hosts
def test_life_cycle(name: str) -> None:
    host = machine(name)
    stock, default = dict(host.files), host.next()
    assert (host.status(), host.judge().expected) == ("wrong", TEXT)

    done = host.tune()
    assert done[-1][0] == "once"
    assert NOTE not in [path for _, path in done]
    assert host.next(once=False) == default, "the default entry is the old one"
    assert (values(host.next()), cmdline.values(host.next(), "panic")) == (RIGHT, ["10"])
    assert (host.status(), host.plan().changes) == ("pending_reboot", ())
    assert "the next boot alone tries them" in host.judge().reason

    host.reboot()
    assert host.status() == "lost_at_reboot"
    assert "a trial boot, not permanent yet" in host.judge().reason
    assert host.next() == default
    done = host.tune()
    assert [path.rpartition(":")[2] for _, path in done[:2]] == ["numatune_trial", NOTE], "no entry holds them before"
    assert done[-1] == ("file", f"{NOTE}-held")
    assert (host.status(), host.plan().changes) == ("ok", ())
    assert values(host.next()) == RIGHT
    assert "panic" not in host.next()
    assert "numatune-trial" not in "".join(host.files.values())

    host.reboot()
    assert (host.status(), host.plan().changes) == ("ok", ())
    assert "panic" not in host.files["proc/cmdline"]

    host.ask({})
    assert host.status() == "wrong"
    host.tune()
    assert (host.status(), host.plan().changes) == ("not_applicable", ())
    gone = [key for key in host.files if key not in stock]
    # The next kernel's arguments stay where they were made; without numatune's.
    assert gone in ([], ["etc/kernel/cmdline"])
    assert values(host.next()) == ([["0"], [], []] if name == "debian" else [[], [], []])
    assert "skew_tick=1" not in "".join(host.files[key] for key in host.files if key != "proc/cmdline")


@hosts
def test_trial_that_does_not_hold_is_not_tried_again(name: str) -> None:
    host = machine(name)
    host.tune()
    host.reboot(holds=False)
    finding = host.judge()
    entry = host.snapshot().read(finding.evidence[-1].path.partition(":")[0])
    assert finding.status.value == "wrong"
    assert f"{entry.path} line {finding.evidence[-1].path.rpartition(':')[2]}" in finding.reason
    assert f"runs without {TEXT}" in finding.reason
    assert "panicked, hung, or was followed by another" in finding.reason

    (conflict,) = host.plan().conflicts
    assert host.plan().changes == ()
    assert (conflict.path, conflict.line) == (entry.path, int(finding.evidence[-1].path.rpartition(":")[2]))
    assert conflict.text
    assert entry.text.splitlines()[conflict.line - 1].strip() == conflict.text or "options" in entry.text
    assert "set tune_kernel_arguments_retry: true" in conflict.message

    host.ask(WANTED, retry=True)
    host.tune()
    assert host.status() == "pending_reboot"
    host.ask(WANTED)
    assert host.plan().changes == host.plan().conflicts == ()
    host.reboot()
    host.tune()
    assert host.status() == "ok"


@hosts
def test_others_arguments_than_those_that_failed_are_tried(name: str) -> None:
    host = machine(name)
    host.tune()
    host.reboot(holds=False)
    host.ask({"skew_tick": "1"})
    host.tune()
    assert (host.status(), cmdline.values(host.next(), "skew_tick")) == ("pending_reboot", ["1"])
    assert cmdline.values(host.next(), "nosmt") == []


@hosts
def test_without_a_trial_they_are_written_at_once(name: str) -> None:
    host = machine(name)
    host.ask(WANTED, trial=False)
    done = host.tune()
    assert ("once", "next_entry") not in [(kind, path.rpartition(":")[2]) for kind, path in done]
    assert host.status() == "pending_reboot"
    assert values(host.next(once=False)) == RIGHT
    host.reboot()
    assert (host.status(), host.plan().changes) == ("ok", ())


@hosts
def test_boot_that_came_back_without_them_is_named_and_not_repeated(name: str) -> None:
    host = machine(name)
    host.ask(WANTED, trial=False)
    running = host.files["proc/cmdline"]
    host.tune()
    host.reboot()
    host.files["proc/cmdline"] = running
    finding = host.judge()
    assert finding.status.value == "wrong"
    assert "the host was rebooted and runs without" in finding.reason
    assert f"line {finding.evidence[-1].path.rpartition(':')[2]} holds" in finding.reason
    assert host.plan().changes == ()
    assert [item.setting for item in host.plan().left] == ["kernel_arguments"]
    host.reboot()
    assert host.status() == "ok"


@hosts
def test_armed_trial_is_given_up_when_no_trial_is_wanted(name: str) -> None:
    host = machine(name)
    stock = dict(host.files)
    host.tune()
    for options in ({"wanted": WANTED, "trial": False}, {}):
        host.ask(**options)
        done = host.changes()
        assert (done[0].kind, done[0].content) == ("once", None), "before the entry goes that it names"
    host.tune()
    assert host.status() == "not_applicable"
    assert host.files == stock


@hosts
def test_arguments_that_are_asked_for_no_more_go(name: str) -> None:
    host = machine(name)
    host.tune()
    host.reboot()
    host.tune()
    host.ask({"skew_tick": "1"})
    finding = host.judge()
    assert finding.status.value == "wrong"
    assert "numatune's nosmt irqaffinity=0,2 is in the boot entries and no longer asked for" in finding.reason
    host.tune()
    assert host.status() == "ok"
    assert values(host.next()) == [["1"], [], []]


@hosts
def test_another_value_is_tried_without_the_old_one(name: str) -> None:
    host = machine(name)
    host.tune()
    host.reboot()
    host.tune()
    host.ask({"skew_tick": "2"})
    before = host.next()
    host.tune()
    assert (host.status(), host.next(once=False)) == ("pending_reboot", before)
    assert values(host.next()) == [["2"], [], []]
    host.reboot()
    host.tune()
    assert host.status() == "ok"
    assert values(host.next()) == [["2"], [], []]


def fresh(host: Machine) -> None:
    pass


def tried(host: Machine) -> None:
    host.tune()
    host.reboot()


def removed(host: Machine) -> None:
    tried(host)
    host.tune()
    host.ask({})


def changed(host: Machine) -> None:
    tried(host)
    host.tune()
    host.ask({"skew_tick": "2"})


def at_once(host: Machine) -> None:
    host.ask(WANTED, trial=False)


def again(host: Machine) -> None:
    host.tune()
    host.reboot(holds=False)
    host.ask(WANTED, retry=True)


def given_up(host: Machine) -> None:
    host.tune()
    host.ask({})


BEFORE = {each.__name__: each for each in (fresh, tried, removed, changed, at_once, again, given_up)}


@some_hosts
@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE)
def test_every_stop_half_way_is_finished(name: str, before: Callable[[Machine], None]) -> None:
    """After each prefix of the plan the audit is not ok unless the next boot is, and the same end is reached."""
    whole = machine(name)
    before(whole)
    changes = whole.changes()
    end = deepcopy(whole)
    end.tune()
    for count in range(len(changes) + 1):
        host = deepcopy(whole)
        for change in changes[:count]:
            host.apply(change)
        wanted = {key: value or "" for key, value in host.settings["kernel_arguments"]["wanted"].items()}
        if host.status() == "ok":
            assert all(cmdline.values(host.next(), key) == [value] for key, value in wanted.items())
        if host.status() == "not_applicable":
            assert host.next() == end.next()
            assert "numatune" not in "".join(host.files.values())
        if count < len(changes) and before is not removed:
            default = host.next(once=False)
            assert default == whole.next(once=False) or values(default) == values(end.next(once=False))
        host.tune()
        assert (host.status(), host.files) == (end.status(), end.files)


@some_hosts
def test_stop_half_way_of_a_write_without_trial_gives_no_unproved_default(name: str) -> None:
    whole = machine(name)
    whole.ask(WANTED, trial=False)
    changes = whole.changes()
    for count in range(len(changes)):
        host = deepcopy(whole)
        for change in changes[:count]:
            host.apply(change)
        host.ask(WANTED)
        default = host.next(once=False)
        host.tune()
        assert host.status() == "pending_reboot"
        assert host.next(once=False) == default
        # What generates the menu would put them into the default entry.
        assert "etc/default/grub.d/zz-numatune.cfg" not in host.files or values(default) == RIGHT


@hosts
def test_default_kernel_that_changes_while_a_trial_is_armed_is_the_one_that_is_tried(name: str) -> None:
    host = machine(name)
    host.tune()
    for path, text in host.files.items():
        if path.endswith(("grub.cfg", ".conf")) and "numatune" not in path:
            host.files[path] = text.replace("quiet", "quiet newer").replace("tty1", "tty1 newer")
    if "$kernelopts" in "".join(host.files.values()):
        return  # its entries hold no word of their own
    host.tune()
    assert "newer" in host.next()
    assert host.status() == "pending_reboot"


def test_an_interrupted_trial_that_never_was_is_not_taken_for_one_that_held() -> None:
    host = machine("debian")
    for change in host.changes()[:-1]:
        host.apply(change)
    host.reboot()
    assert host.status() == "wrong"
    assert len(host.plan().conflicts) == 1


def test_what_a_trial_came_to_is_not_guessed_while_its_run_is_cut() -> None:
    host = machine("debian")
    host.tune()
    host.reboot(holds=False)
    journal = "var/lib/numatune/journal/0001.json"
    host.files[journal] = '{\n "state": "recorded"\n}\n'
    cut = host.judge()
    assert cut.status.value == "wrong"
    assert "what the trial came to shows when the cut run is finished" in cut.reason
    assert "panicked" not in cut.reason
    assert cut.remedy == "run playbooks/tune.yml, which finishes that run first"
    host.files[journal] = '{\n "state": "completed"\n}\n'
    closed = host.judge()
    assert "panicked, hung, or was followed by another" in closed.reason
    assert "playbooks/tune.yml -e tune_kernel_arguments_retry=true" in closed.remedy


def test_unread_running_or_next_arguments_are_never_ok() -> None:
    host = machine("debian")
    tried(host)
    host.tune()
    assert host.status() == "ok"
    del host.files["proc/cmdline"]
    assert host.status() == "unknown"
    host.files["proc/cmdline"] = f"ro {TEXT}\n"
    del host.files["boot/grub/grub.cfg"]
    assert host.status() == "unknown"


WRONG = {
    "twice in the entry": ("quiet", "quiet skew_tick=1"),
    "another value": ("skew_tick=1", "skew_tick=2"),
    "gone": (f" {TEXT}", ""),
    "for init": (TEXT, f"-- {TEXT}"),
}


@pytest.mark.parametrize(("old", "new"), WRONG.values(), ids=WRONG)
def test_entry_that_does_not_hold_them_is_never_ok(old: str, new: str) -> None:
    host = machine("debian")
    tried(host)
    host.tune()
    host.files["boot/grub/grub.cfg"] = host.files["boot/grub/grub.cfg"].replace(old, new)
    assert host.status() == "lost_at_reboot"
    assert [change.kind for change in host.changes()] == ["menu"]
    host.files["proc/cmdline"] = f"ro {TEXT.replace('skew_tick=1', 'skew_tick=2')}\n"
    assert host.status() == "wrong"


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "security": ({"mitigations": "off"}, "settings.kernel_arguments.wanted.mitigations"),
    "isolation by the back door": ({"isolcpus": "1-3"}, "set by settings.core_isolation, mode kernel"),
    "the tick too": ({"nohz-full": "1-3"}, "set by settings.core_isolation, mode kernel"),
}


@pytest.mark.parametrize(("wanted", "words"), REFUSED.values(), ids=REFUSED)
def test_what_must_not_be_asked_for_ends_before_anything_is_planned(wanted: dict[str, Any], words: str) -> None:
    host = machine("debian")
    host.ask(wanted)
    with pytest.raises(InputError, match=words):
        host.plan()


def test_kernel_isolation_is_tried_like_any_other_argument() -> None:
    host = Machine(debian(), {"core_isolation": {"mode": "kernel", "pinned": True}})
    host.tune()
    assert host.status() == "pending_reboot"
    assert cmdline.values(host.next(), "isolcpus") == ["managed_irq,domain,1,3,5,7"]
    assert cmdline.values(host.next(), "nohz_full") == ["1,3,5,7"]
    host.ask({"rcu_nocbs": "1"})
    with pytest.raises(InputError, match="rcu_nocbs: set by settings"):
        host.judge()


def test_kernel_isolation_of_unpinned_threads_is_refused() -> None:
    host = Machine(debian(), {"core_isolation": {"mode": "kernel"}})
    assert "say pinned: true where every serving thread is pinned" in host.conflict()
    host.settings["core_isolation"]["pinned"] = False
    assert "unpinned ones pile up" in host.conflict()
