"""The power goes before each write, sync and rename of a run that changes kernel arguments, and the host boots again.

Of every state that the disk passes through: the audit tells the truth in the same boot, in the next one as GRUB itself
would choose it, after a trial that panics, and after an update-grub by somebody else; `tune.yml` with reboot_ok leads
to the end in at most two reboots and boots no kernel twice that panicked; revert leads back byte for byte.

NUMATUNE_INSTANTS=all walks every instant; by default every third.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from transaction_host import JOURNAL, MENU, Crash, Target, copy, faults, make, remake_menu, state

from plugins.module_utils import undo
from plugins.module_utils.core.catalogue import SETTINGS
from plugins.module_utils.core.host import Host
from plugins.module_utils.core.parsers import cmdline
from plugins.module_utils.core.reboots import awaited
from plugins.module_utils.tree import TreeError


@pytest.fixture(autouse=True)
def nothing_is_synced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the machine thousands of syncs: a cut is made here, not by the disk."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


OTHERS = {setting.name: False for setting in SETTINGS if setting.name != "kernel_arguments"}
TREES = ("debian", "rhel8", "fedora")
DONE = ("ok", "not_applicable")
EVERY = 1 if os.environ.get("NUMATUNE_INSTANTS") == "all" else 3


def asks(**options: Any) -> Any:
    return {"settings": {**OTHERS, "kernel_arguments": options}}


ONE = asks(wanted={"skew_tick": "1", "nosmt": None})
OTHER = asks(wanted={"skew_tick": "2", "nosmt": None})
NONE = asks()


class Step(NamedTuple):
    """A run that is cut: what comes before it, what it asks for, and what it does."""

    before: Callable[[Path], None]
    profile: Any
    run: Callable[[Target], object] = Target.tune


def fresh(root: Path) -> None:
    pass


def armed(root: Path) -> None:
    Target(root, ONE).tune()


def tried(root: Path) -> None:
    armed(root)
    Target(root, ONE).reboot()


def permanent(root: Path) -> None:
    tried(root)
    Target(root, ONE).tune()


def others_tried(root: Path) -> None:
    permanent(root)
    Target(root, OTHER).tune()
    Target(root, OTHER).reboot()


def panicked(root: Path) -> None:
    armed(root)
    assert Target(root, ONE).reboot(panics=True)


def taken_out(root: Path) -> None:
    """Somebody takes the arguments out of the default entry, by hand."""
    permanent(root)
    for path in (root / MENU, *(root / "boot/loader/entries").glob("*.conf"), root / "boot/grub2/grubenv"):
        if path.exists():
            text = path.read_text()
            less = text.replace(" skew_tick=1 nosmt", "")
            path.write_text(less + "#" * (len(text) - len(less)) if path.name == "grubenv" else less)


STEPS = {
    "trial": Step(fresh, ONE),
    "at once": Step(fresh, asks(wanted={"skew_tick": "1", "nosmt": None}, trial=False)),
    "other arguments than are armed": Step(armed, OTHER),
    "permanent": Step(tried, ONE),
    "another value's trial": Step(permanent, OTHER),
    "another value": Step(others_tried, OTHER),
    "once more": Step(panicked, asks(wanted={"skew_tick": "1", "nosmt": None}, retry=True)),
    "written again": Step(taken_out, ONE),
    "given up": Step(armed, NONE),
    "removal": Step(permanent, NONE),
    "a trial's revert": Step(tried, ONE, Target.revert),
    "revert": Step(permanent, ONE, Target.revert),
}


def lay(root: Path, tree: str) -> None:
    make(root, "" if tree == "debian" else tree)


def files(root: Path) -> dict[str, str]:
    """Return what is on the disk, without scratch names, which the next run removes."""
    found = state(root).items()
    return {key: value for key, value in found if not key.startswith(("proc/", "sys/")) and not scratch(key)}


def scratch(name: str) -> bool:
    return name.endswith((".numatune", ".new"))


def key_of(root: Path) -> str:
    """Return all that a run could look at, so that a state which is met twice is walked once."""
    journal = [path.read_text() for path in sorted((root / JOURNAL).rglob("*.json"))]
    names = [path.name for path in (root / JOURNAL).rglob("*")]
    plain = re.sub(r'"(recorded|completed|reverted)": "[^"]*Z"', "", "".join(journal))
    return repr((state(root), plain, sorted(names)))


def cut(template: Path, folder: Path, step: Step) -> Iterator[tuple[int, Target]]:
    """Yield (instant, host) for each instant, or one in EVERY, at which the disk is in another state than before.

    Always before the first write and after the last; which ones between differs by step.
    """
    first = list(STEPS.values()).index(step) % EVERY
    seen = set()
    whole = Target(copy(template, folder / "whole"), step.profile)
    with faults() as counted:
        step.run(whole)
    total = counted.count
    for at in sorted({0, *range(first, total, EVERY), total}):
        target = Target(copy(template, folder / f"{at}"), step.profile)
        if at == total:
            step.run(target)
        else:
            with faults(at), pytest.raises(Crash):
                step.run(target)
        key = key_of(target.root)
        if key not in seen:
            seen.add(key)
            yield at, target


def holds(target: Target, line: str) -> bool:
    wanted = target.profile.options.get("kernel_arguments", {}).get("wanted") or {}
    return all(cmdline.values(line, key) == [value or ""] for key, value in wanted.items())


def finding(target: Target) -> Any:
    (found,) = [item for item in target.audit().findings if item.setting == "kernel_arguments"]
    return found


def is_true(target: Target, panics: int, goal: dict[str, str] | None) -> str:
    """Assert that the audit says what is so; return the status."""
    found = finding(target)
    status, wanted = found.status.value, holds(target, "") is False
    running, after = holds(target, (target.root / "proc/cmdline").read_text()), holds(target, target.next())
    if not wanted:
        assert status in ("not_applicable", "wrong")
        if status == "not_applicable":
            assert not [key for key in files(target.root) if "numatune" in key.rpartition("/")[2] and "." in key]
    elif running:
        assert status in (("ok", "wrong") if after else ("lost_at_reboot",)), found
    else:
        assert status == ("pending_reboot" if after else "wrong"), found
    if status == "ok" and goal is not None:
        now = files(target.root)
        assert {key: now[key] for key in now if not key.endswith("grubenv")} == goal
    if "panicked" in found.reason:
        assert panics or "followed by another" in found.reason
    assert "another loader" not in found.reason
    return str(status)


def play(target: Target, panics: bool = False) -> tuple[int, int]:
    """Do what tune.yml does with reboot_ok; return how often the host was rebooted, and how often a trial panicked."""
    target.tune()
    report = target.audit()
    host = Host(target.snapshot(), target.profile)
    if not awaited(host, report.findings):
        return 0, 0
    came = target.reboot(panics)
    target.tune()
    return 1, int(came)


def converges(target: Target, where: object) -> None:
    reboots = 0
    for _ in range(2):
        reboots += play(target)[0]
        if finding(target).status.value in DONE:
            break
    assert finding(target).status.value in DONE, (where, finding(target))
    assert reboots <= 2
    assert target.tune().changes == ()
    assert undo.interrupted(target.host) == ()


def goes_back(target: Target, stock: dict[str, str], where: object) -> None:
    way = target.revert()
    assert way.conflicts == (), where
    assert files(target.root) == stock, where


def same_boot(target: Target) -> int:
    return 0


def next_boot(target: Target) -> int:
    target.reboot()
    return 0


def next_boot_panics(target: Target) -> int:
    return int(target.reboot(panics=True))


def next_boot_and_new_menu(target: Target) -> int:
    target.reboot()
    remake_menu(target.root)
    return 0


AFTER = (same_boot, next_boot, next_boot_panics, next_boot_and_new_menu)


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("tree", TREES)
def test_every_instant_converges(tmp_path: Path, tree: str, step: Step, record_property: Any) -> None:
    stock_root, template = tmp_path / "stock", tmp_path / "template"
    lay(stock_root, tree)
    stock = files(stock_root)
    copy(stock_root, template)
    step.before(template)
    end = Target(copy(template, tmp_path / "end"), step.profile)
    converges(end, "without a cut")
    goal = files(end.root)
    settled = {key: goal[key] for key in goal if not key.endswith("grubenv")}
    # Entries that somebody edited are his: revert leaves them alone, and says so.
    edited = step.before is taken_out and tree != "debian"
    count = held_unseen = 0
    for at, target in cut(template, tmp_path / "cut", step):
        for after in AFTER:
            if after is next_boot_and_new_menu and (tree != "debian" or step.before is taken_out):
                continue
            where = (at, after.__name__)
            count += 1
            host = Target(copy(target.root, tmp_path / f"{at}-{after.__name__}"), step.profile)
            begun = undo.interrupted(host.host)
            panics = after(host) or int(step.before is panicked)
            # Of a revert that was cut, the entries may hold what no file of numatune's makes any more.
            is_true(host, panics, settled if step.run is Target.tune else None)
            if not edited:
                goes_back(Target(copy(host.root, tmp_path / f"{at}-{after.__name__}-back"), step.profile), stock, where)
            asked = step.profile["settings"]["kernel_arguments"]
            plain = Target(host.root, asks(**{**asked, "retry": False}))
            # One that panicked is booted no second time. Of one that held, where the power went before tune had
            # written a word, nothing on disk can tell.
            reason = finding(plain).reason
            unseen = "followed by another" in reason and not panics and not begun
            held_unseen += unseen
            tried = re.search("followed by another|what the trial came to", reason)
            if (panics and asked and tried) or unseen:
                with pytest.raises(TreeError, match="not tried again"):
                    play(plain)
                plain = Target(host.root, asks(**{**asked, "retry": True}))
            converges(plain, where)
            if step.run is Target.tune:
                assert files(host.root).keys() == goal.keys(), where
                if not edited:
                    goes_back(host, stock, where)
            for used in tmp_path.glob(f"{at}-*"):
                shutil.rmtree(used)
        shutil.rmtree(target.root)
    record_property("states", count)
    record_property("trials of which nobody can tell whether they held", held_unseen)
