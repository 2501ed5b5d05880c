"""What boots next, from the boot loader's own files: GRUB's menu, its BLS entries, systemd-boot's, or not known."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from numatune.core.loaders.next_boot import next_boot
from numatune.core.model import Reading, Snapshot, State

GRUB, ENV = "/boot/grub/grub.cfg", "/boot/grub/grubenv"
GRUB2, ENV2 = "/boot/grub2/grub.cfg", "/boot/grub2/grubenv"
ENTRIES, LOADER = "/boot/loader/entries", "/boot/loader/loader.conf"
DIRS = frozenset({"/boot", "/proc", "/sys", "/boot/grub"})

HEAD = 'if [ "${next_entry}" ] ; then\n set default="${next_entry}"\nelse\n set default="DEFAULT"\nfi\n'
MENU = HEAD + (
    "menuentry 'A' $menuentry_id_option 'a' {\n\tlinux /vmlinuz-a ro one\n}\n"
    "submenu 'More' $menuentry_id_option 'more' {\n"
    "\tmenuentry 'B' $menuentry_id_option 'b' {\n\t\tlinux /vmlinuz-b ro two\n\t}\n"
    "\tmenuentry 'C' $menuentry_id_option 'c' {\n\t\tlinux /vmlinuz-c ro three\n\t}\n}\n"
    "menuentry 'Setup' {\n\tfwsetup\n}\n"
)
FIRST = MENU.replace("DEFAULT", "0")
SAVED = MENU.replace("DEFAULT", "${saved_entry}")
BLSCFG = HEAD.replace("DEFAULT", "${saved_entry}") + "insmod blscfg\nblscfg\n"
OLD = f"{ENTRIES}/id-5.9.conf", "title Old\nversion 5.9\nlinux /vmlinuz-5.9\noptions ro old\n"
NEW = f"{ENTRIES}/id-5.10.conf", "title New\nversion 5.10\nlinux /vmlinuz-5.10\noptions ro new\n"
TWO = dict([OLD, NEW])

TUNED = "load_env\n"
PARAMS = "menuentry 'a' {\n\tlinux /v ro $tuned_params\n}\n"
FALLBACK = 'if [ -z "${kernelopts}" ]; then\n  set kernelopts="ro fallback"\nfi\n'
KERNELOPTS = PARAMS.replace("tuned_params", "kernelopts")
HANDOFF = (
    'function gfxmode {\n\tset gfxpayload="${1}"\n\tif [ "${1}" = "keep" ]; then\n\t\tset vt_handoff=vt.handoff=7\n'
    "\telse\n\t\tset vt_handoff=\n\tfi\n}\nmenuentry 'a' {\n\tlinux /v ro quiet $vt_handoff\n}\n"
)


class Case(NamedTuple):
    """Files, and the arguments wanted with the place that holds them; or words of the reason."""

    files: dict[str, str]
    arguments: str | None = None
    where: str = ""
    reason: str = ""


KNOWN = {
    "first": Case({GRUB: FIRST}, "ro one", f"{GRUB}:7"),
    "by index into a submenu": Case({GRUB: MENU.replace("DEFAULT", "1>1")}, "ro three", f"{GRUB}:14"),
    "by ids into a submenu": Case({GRUB: MENU.replace("DEFAULT", "more>b")}, "ro two", f"{GRUB}:11"),
    "a submenu's first": Case({GRUB: MENU.replace("DEFAULT", "More")}, "ro two", f"{GRUB}:11"),
    "saved": Case({GRUB: SAVED, ENV: "saved_entry=more>c\n"}, "ro three", f"{GRUB}:14"),
    "saved, but set default is plain": Case({GRUB: FIRST, ENV: "saved_entry=more>c\n"}, "ro one", f"{GRUB}:7"),
    "saved, nothing saved": Case({GRUB: SAVED, ENV: "# GRUB\n###"}, "ro one", f"{GRUB}:7"),
    "saved, no grubenv on the host": Case({GRUB: SAVED}, "ro one", f"{GRUB}:7"),
    "saved leads nowhere": Case({GRUB: SAVED, ENV: "saved_entry=gone\n"}, "ro one", f"{GRUB}:7"),
    "once": Case({GRUB: SAVED, ENV: "saved_entry=a\nnext_entry=more>b\n"}, "ro two", f"{GRUB}:11"),
    "grub2": Case({GRUB2: FIRST}, "ro one", f"{GRUB2}:7"),
    "bls newest": Case({GRUB2: BLSCFG, **TWO}, "ro new", f"{ENTRIES}/id-5.10.conf:4"),
    "bls saved": Case({GRUB2: BLSCFG, ENV2: "saved_entry=id-5.9\n", **TWO}, "ro old", f"{ENTRIES}/id-5.9.conf:4"),
    "bls saved by title": Case({GRUB2: BLSCFG, ENV2: "saved_entry=Old\n", **TWO}, "ro old", f"{ENTRIES}/id-5.9.conf:4"),
    "bls by index": Case({GRUB2: BLSCFG, ENV2: "saved_entry=1\n", **TWO}, "ro old", f"{ENTRIES}/id-5.9.conf:4"),
    "bls once": Case(
        {GRUB2: BLSCFG, ENV2: "saved_entry=id-5.10\nnext_entry=id-5.9\n", **TWO}, "ro old", f"{ENTRIES}/id-5.9.conf:4"
    ),
    "bls with kernelopts": Case(
        {
            GRUB2: BLSCFG,
            ENV2: "kernelopts=root=x ro numa_balancing=disable\n",
            f"{ENTRIES}/i.conf": "version 4.18\noptions $kernelopts $tuned_params\n",
        },
        "root=x ro numa_balancing=disable ",
        f"{ENTRIES}/i.conf:2",
    ),
    "a fallback for kernelopts": Case(
        {GRUB2: FALLBACK + BLSCFG, f"{ENTRIES}/i.conf": "options $kernelopts\n"}, "ro fallback", f"{ENTRIES}/i.conf:1"
    ),
    "a fallback that is not needed": Case(
        {GRUB2: FALLBACK + BLSCFG, ENV2: "kernelopts=ro own\n", f"{ENTRIES}/i.conf": "options $kernelopts\n"},
        "ro own",
        f"{ENTRIES}/i.conf:1",
    ),
    "TuneD's": Case({GRUB: TUNED + 'set tuned_params="isolcpus=1 a"\n' + PARAMS}, "ro isolcpus=1 a", f"{GRUB}:4"),
    "TuneD's, in single quotes": Case({GRUB: TUNED + "set tuned_params='a b'\n" + PARAMS}, "ro a b", f"{GRUB}:4"),
    "TuneD's, one word": Case({GRUB: TUNED + "tuned_params=a;\n" + PARAMS}, "ro a", f"{GRUB}:4"),
    "TuneD's, none": Case({GRUB: TUNED + 'set tuned_params=""\n' + PARAMS}, "ro ", f"{GRUB}:4"),
    "TuneD's, the last counts": Case(
        {GRUB: TUNED + "set tuned_params=a\nset tuned_params=b # c\n" + PARAMS}, "ro b", f"{GRUB}:5"
    ),
    "TuneD's, taken back": Case({GRUB: TUNED + "tuned_params=a\nunset tuned_params\n" + PARAMS}, "ro ", f"{GRUB}:5"),
    "TuneD's over the block's": Case(
        {GRUB: TUNED + "set tuned_params=a\n" + PARAMS, ENV: "tuned_params=b\n"}, "ro a", f"{GRUB}:4"
    ),
    "TuneD's, a comment": Case({GRUB: TUNED + "#set tuned_params=$x\n" + PARAMS}, "ro ", f"{GRUB}:4"),
    "TuneD's, in a submenu": Case(
        {GRUB: TUNED + "set tuned_params=a\nexport tuned_params\nsubmenu s {\n" + PARAMS + "}\n"}, "ro a", f"{GRUB}:6"
    ),
    "TuneD's over the block's, BLS": Case(
        {GRUB2: BLSCFG + "set tuned_params=a\n", ENV2: "tuned_params=b\n", OLD[0]: "options ro $tuned_params\n"},
        "ro a",
        f"{OLD[0]}:1",
    ),
    "Ubuntu's handoff": Case({GRUB: HANDOFF}, "ro quiet ", f"{GRUB}:10"),
    "both of GRUB's folders": Case({GRUB: FIRST, GRUB2: MENU.replace("DEFAULT", "1>1")}, "ro three", f"{GRUB2}:14"),
    "systemd-boot": Case({LOADER: "timeout 3\n", **TWO}, "ro new", f"{ENTRIES}/id-5.10.conf:4"),
    "systemd-boot default": Case(
        {LOADER: "timeout 3\ndefault id-5.9.conf\n", **TWO}, "ro old", f"{ENTRIES}/id-5.9.conf:4"
    ),
    "systemd-boot pattern": Case(
        {LOADER: "#default x\n\ndefault *-5.9\n", **TWO}, "ro old", f"{ENTRIES}/id-5.9.conf:4"
    ),
}
NOT_KNOWN = {
    "entries of no known loader": Case(TWO, reason="the loader's own configuration was not found"),
    "two loaders": Case({GRUB: MENU.replace("DEFAULT", "0"), LOADER: "timeout 3\n", **TWO}, reason="both /boot"),
    "an entry on one line": Case(
        {GRUB: "set default=0\nmenuentry 'a' { linux /vmlinuz ro isolcpus=2 }\nmenuentry 'b' {\n linux /v ro\n}\n"},
        reason="no entry '0' with a kernel line",
    ),
    "two kernel lines": Case(
        {GRUB: "menuentry 'a' {\n if x\n linux /v ro a\n else\n linux /v ro b\n fi\n}\n"},
        reason="more than one kernel line",
    ),
    "kernelopts, systemd-boot": Case(
        {LOADER: "timeout 3\n", f"{ENTRIES}/i.conf": "options $kernelopts\n"}, reason="uses $kernelopts"
    ),
    "no kernel line": Case({GRUB: MENU.replace("DEFAULT", "2")}, reason="no entry '2' with a kernel line"),
    "empty menu": Case({GRUB: "set timeout=3\n"}, reason="no entry '0'"),
    "kernelopts nowhere": Case(
        {GRUB2: BLSCFG, f"{ENTRIES}/i.conf": "options $kernelopts\n"},
        reason="uses $kernelopts, which grubenv does not hold",
    ),
    "set in a condition": Case(
        {GRUB: "if [ x = y ]; then\n set tuned_params=a\nfi\n" + PARAMS},
        reason=f"{GRUB} line 5 uses $tuned_params, which {GRUB} line 2 sets in a way that numatune does not follow",
    ),
    "set in a condition on one line": Case(
        {GRUB: "if x; then set tuned_params=a; fi\n" + PARAMS}, reason="line 1 sets"
    ),
    "set in a condition and plainly": Case(
        {GRUB: "set tuned_params=a\nif x; then\nset tuned_params=b\nfi\n" + PARAMS}, reason=f"{GRUB} line 3 sets"
    ),
    "set to another fallback": Case(
        {GRUB: 'if [ -z "$tuned_params" ]; then\nx\nelse\nset tuned_params=b\nfi\n' + PARAMS}, reason="line 4 sets"
    ),
    "set in a function": Case({GRUB: "function f {\n set tuned_params=a\n}\n" + PARAMS}, reason="line 2 sets"),
    "set in the entry": Case(
        {GRUB: "menuentry 'a' {\n set tuned_params=b\n linux /v ro $tuned_params\n}\n"}, reason="line 2 sets"
    ),
    "set from another variable": Case({GRUB: 'set tuned_params="a $b"\n' + PARAMS}, reason=f"{GRUB} line 1 sets"),
    "set by a command": Case({GRUB: "probe --set=tuned_params --fs-uuid x\n" + PARAMS}, reason="line 1 sets"),
    "set in two words": Case({GRUB: "set tuned_params=a b\n" + PARAMS}, reason=f"{GRUB} line 1 sets"),
    "not exported to a submenu": Case(
        {GRUB: "set tuned_params=a\nsubmenu s {\n" + PARAMS + "}\n"},
        reason="which grub.cfg does not export into the submenu",
    ),
    "firmware's variable": Case({LOADER: "default @saved\n", **TWO}, reason="the default entry is @saved"),
    "no match": Case({LOADER: "default arch\n", **TWO}, reason="no entry matches loader.conf's default 'arch'"),
    "raspberry": Case({"/boot/firmware/cmdline.txt": "ro\n"}, reason="(the Raspberry Pi's firmware)"),
    "extlinux": Case({"/boot/extlinux/extlinux.conf": "x\n"}, reason="(extlinux)"),
    "none": Case({}, reason="started from outside"),
}


@pytest.mark.parametrize("case", KNOWN.values(), ids=KNOWN)
def test_next_boot_is_found(case: Case) -> None:
    found = next_boot(Snapshot(case.files, dirs=DIRS))
    assert found.arguments == case.arguments
    assert found.where is not None
    assert f"{found.where.path}:{found.where.line}" == case.where


@pytest.mark.parametrize("case", NOT_KNOWN.values(), ids=NOT_KNOWN)
def test_next_boot_is_not_known(case: Case) -> None:
    found = next_boot(Snapshot(case.files, dirs=DIRS))
    assert found.arguments is None
    assert case.reason in found.reason


UNREADABLE = {
    "grub.cfg": ({}, GRUB, State.DENIED, f"needs root to read {GRUB}"),
    "grub.cfg, read error": ({}, GRUB, State.ERROR, f"reading {GRUB} failed"),
    "grubenv that decides": ({GRUB: SAVED}, ENV, State.DENIED, f"needs root to read {ENV}"),
    "the folder": ({}, "/boot/grub2", State.DENIED, "needs root to read /boot/grub2"),
    "boot": ({}, "/boot", State.DENIED, "needs root to read /boot/grub"),
    "the entries": ({GRUB2: BLSCFG}, ENTRIES, State.DENIED, f"needs root to read {ENTRIES}"),
}


@pytest.mark.parametrize(("files", "path", "state", "reason"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_named(files: dict[str, str], path: str, state: State, reason: str) -> None:
    found = next_boot(Snapshot(files, {path: Reading(path, state)}, dirs=DIRS))
    assert found.arguments is None
    assert reason in found.reason


def test_grubenv_that_does_not_decide_may_be_unreadable() -> None:
    found = next_boot(Snapshot({GRUB: FIRST}, {ENV: Reading(ENV, State.DENIED)}, dirs=DIRS))
    assert found.arguments == "ro one"


@pytest.mark.parametrize(
    ("config", "known"), [(PARAMS, False), ("set tuned_params=a\n" + PARAMS, True), (FALLBACK + KERNELOPTS, False)]
)
def test_grubenv_that_holds_a_variable_must_be_readable(config: str, known: bool) -> None:
    found = next_boot(Snapshot({GRUB: config}, {ENV: Reading(ENV, State.DENIED)}, dirs=DIRS))
    assert (found.arguments is not None) is known
    assert known or "$" in found.reason


def test_captured_tree_without_boot_says_nothing() -> None:
    found = next_boot(Snapshot({}, dirs=DIRS, complete=False))
    assert found.arguments is None
    assert "is not in the captured tree" in found.reason


def test_ostree_is_named() -> None:
    found = next_boot(Snapshot({}, dirs=DIRS | {"/ostree/deploy"}))
    assert "(ostree)" in found.reason
