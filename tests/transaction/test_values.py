"""Each value that the kit declares, by the engine on a fake root: tuned, proven, put back, refused where others win."""

from __future__ import annotations

from pathlib import Path

import pytest
from transaction_host import JOURNAL, Target, make, state

from plugins.module_utils.core import catalogue
from plugins.module_utils.core.kit import boot_service
from plugins.module_utils.core.kit.per_cpu import PerCpu
from plugins.module_utils.core.kit.sysctl_d import SysctlD
from plugins.module_utils.core.parsers.choices import chosen
from plugins.module_utils.core.setting import Setting
from plugins.module_utils.tree import TreeError

# What each kernel file shows, or that of each CPU on a host that is not tuned.
WRONG = {
    "numa_balancing": "1\n",
    "timer_migration": "1\n",
    "swappiness": "60\n",
    "transparent_hugepage": "[always] madvise never\n",
    "transparent_hugepage_defrag": "[always] defer defer+madvise madvise never\n",
    "ksm": "1\n",
}
VALUES = [item for item in catalogue.SETTINGS if item.value and item.changes]
ONE_FILE = [item for item in VALUES if not isinstance(item.value, PerCpu)]
each = pytest.mark.parametrize("item", VALUES, ids=lambda item: item.name)
CPUS = range(4)


def paths(item: Setting) -> list[str]:
    """Return the kernel's files of a setting, from the root."""
    if isinstance(item.value, PerCpu):
        return [f"sys/devices/system/cpu/cpu{cpu}/{item.value.file}" for cpu in CPUS]
    return [item.value.path[1:]]


def kept(item: Setting) -> str:
    """Return the path of what keeps a value."""
    return boot_service.conf(item.name) if isinstance(item.value, PerCpu) else item.value.keeper.drop_in


def target(root: Path, *only: str) -> Target:
    make(root)
    for name, text in WRONG.items():
        for path in map(root.joinpath, paths(catalogue.setting(name))):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return Target(root, only=only)


def test_every_value_is_here() -> None:
    assert {item.name for item in VALUES} == set(WRONG)


@each
def test_a_value_is_tuned_proven_and_put_back(item: Setting, tmp_path: Path) -> None:
    one = target(tmp_path / "root", item.name)
    before = state(one.root)
    predicted = one.predict()
    assert state(one.root) == before
    done = one.tune()
    assert done.changes == predicted.changes
    changed = [one.root / change.path[1:] for change in done.changes if change.kind == "runtime"]
    assert set(changed) <= {one.root / path for path in paths(item)}
    assert changed
    shown = {path: path.read_text() for path in changed}
    for text in shown.values():
        assert chosen(text).strip() == item.value.wanted
        assert ("[" in text) == ("[" in WRONG[item.name])
    assert (one.root / kept(item)[1:]).read_text().endswith(f"{item.value.wanted}\n")
    assert one.statuses()[item.name] == "ok"
    # Nothing is left to do; and after a reboot, whose kernel starts with another value, what is on disk is right.
    assert one.tune().changes == ()
    for path in changed:
        path.write_text(WRONG[item.name])
    assert one.statuses()[item.name] == "pending_reboot"
    for path, text in shown.items():
        path.write_text(text)
    way = one.revert()
    assert (way.conflicts, state(one.root)) == ((), before)
    text = next((one.root / JOURNAL).rglob("*-undo.txt")).read_text()
    assert f"/{changed[-1].relative_to(one.root)} held {chosen(WRONG[item.name]).strip()!r} in the boot" in text


def later(item: Setting) -> tuple[str, str]:
    """Return a file that wins over ours, and its text."""
    wrong = chosen(WRONG[item.name]).strip()
    if isinstance(item.value.keeper, SysctlD):
        return "etc/sysctl.d/99-zzz.conf", f"{item.value.keeper.key} = {wrong}\n"
    return "etc/tmpfiles.d/zzz.conf", f"w {item.value.path[:-1]}? - - - - {wrong}\n"


@pytest.mark.parametrize("item", ONE_FILE, ids=lambda item: item.name)
def test_a_value_is_refused_where_another_file_would_win(item: Setting, tmp_path: Path) -> None:
    one = target(tmp_path / "root", item.name)
    path, text = later(item)
    (one.root / path).parent.mkdir(parents=True, exist_ok=True)
    (one.root / path).write_text(text)
    before = state(one.root)
    with pytest.raises(TreeError, match=f"/{path} line 1 would win over {item.value.keeper.drop_in}: remove"):
        one.tune()
    assert state(one.root) == before
    assert not (one.root / JOURNAL).exists()


@each
def test_a_value_that_somebody_changed_since_stays(item: Setting, tmp_path: Path) -> None:
    one = target(tmp_path / "root", item.name)
    one.tune()
    ours = one.root / kept(item)[1:]
    ours.write_text("# mine\n")
    way = one.revert()
    assert [kept(item) in line for line in way.conflicts] == [True]
    assert ours.read_text() == "# mine\n"


def test_all_values_at_once_and_none_that_nobody_named(tmp_path: Path) -> None:
    root = tmp_path / "root"
    one = target(root, *WRONG)
    before = state(root)
    assert {change.setting for change in one.tune().changes} == set(WRONG)
    assert {one.statuses()[name] for name in WRONG} == {"ok"}
    assert one.revert().conflicts == ()
    assert state(root) == before
    default = Target(root)
    assert {change.setting for change in default.tune().changes} & set(WRONG) == {
        item.name for item in VALUES if item.by_default
    }
