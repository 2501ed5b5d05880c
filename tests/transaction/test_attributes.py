"""ACLs, capabilities and other extended attributes are kept by tune and exact after revert; hard links are refused."""

from __future__ import annotations

import base64
import errno
import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from transaction_host import JOURNAL, KERNEL, Target, make, state

from plugins.module_utils.core.change import Change, Plan
from plugins.module_utils.core.undo.journal import Seen
from plugins.module_utils.tree import Tree, TreeError
from plugins.module_utils.undo import undo

ACL, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
GROUP = 2345
_NAMES = {"user": 1, "named user": 2, "group": 4, "named group": 8, "mask": 16, "other": 32}
_NOBODY = 0xFFFFFFFF


def acl(**rights: int) -> bytes:
    """Return an ACL as the kernel takes it, sorted as it wants it."""
    entries = [
        (_NAMES[key.replace("_", " ")], right, 4321 if "named" in key else _NOBODY) for key, right in rights.items()
    ]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in sorted(entries))


# group::r--, mask::rw-: the mode shows 0664, and the group may not write.
MASKED = acl(user=6, named_user=6, group=4, mask=6, other=4)


def xattrs(path: Path) -> dict[str, bytes]:
    return {name: os.getxattr(path, name) for name in sorted(os.listxattr(path)) if name != "security.selinux"}


@pytest.fixture
def target(tmp_path: Path) -> Target:
    make(tmp_path / "root")
    try:
        os.setxattr(tmp_path, ACL, acl(user=7, named_user=5, group=5, mask=5, other=0))
        os.removexattr(tmp_path, ACL)
    except OSError:
        pytest.skip("the filesystem of the tests' files has no ACLs")
    return Target(tmp_path / "root")


class OneFile(Target):
    """A run of tune that writes one file, whichever it is."""

    path = "/etc/default/irqbalance"
    mode: str | None = None

    def look(self) -> Plan:
        now = (self.root / self.path[1:]).read_text()
        change = Change("irqbalance", "file", self.path, "# new\n", now, "", self.mode)
        return Plan((change,) if now != "# new\n" else (), (), ())

    def _prove(self) -> dict[str, object]:
        return {"irqbalance": (type(next(iter(self.audit().findings)).status)("ok"), "")}


def dressed(target: Target) -> Path:
    """Give the file an owner, an ACL and other attributes."""
    path = target.root / OneFile.path[1:]
    if os.geteuid() == 0:
        os.chown(path, 0, GROUP)
    os.setxattr(path, ACL, MASKED)
    os.setxattr(path, "user.note", b"\0\xffraw")
    if os.geteuid() == 0:
        os.setxattr(path, "trusted.site", b"t")
        os.setxattr(path, "security.capability", struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0))
    return path


def test_an_acl_and_all_other_attributes_are_kept_and_come_back(target: Target) -> None:
    path = dressed(target)
    before, names = state(target.root), xattrs(path)
    mode = path.stat().st_mode & 0o7777
    assert mode == 0o664
    one = OneFile(target.root)
    one.tune()
    assert path.read_text() == "# new\n"
    assert xattrs(path) == names
    assert path.stat().st_mode & 0o7777 == mode
    assert one.tune().changes == ()
    assert one.revert().conflicts == ()
    assert (state(target.root), xattrs(path)) == (before, names)


def test_a_mode_that_is_asked_for_narrows_the_mask_and_never_widens_the_group(target: Target) -> None:
    path = dressed(target)
    names = xattrs(path)
    one = OneFile(target.root)
    one.mode = "0644"
    one.tune()
    assert os.getxattr(path, ACL) == acl(user=6, named_user=6, group=4, mask=4, other=4)
    one.revert()
    assert xattrs(path) == names


def test_the_file_is_never_open_to_more_than_before(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while it is made: the mode's group bits, the mask, come after the ACL."""
    path = dressed(target)
    order: list[str] = []
    for name in ("setxattr", "fchmod", "fchown"):
        real = getattr(os, name)

        def step(*arguments: object, name: str = name, real: object = real) -> None:
            order.append(f"{name} {arguments[1]}" if name == "setxattr" else name)
            real(*arguments)

        monkeypatch.setattr(os, name, step)
    OneFile(target.root).tune()
    at = order.index(f"setxattr {ACL}")
    assert order[at - 1] == "fchown" or "fchown" in order[:at]
    assert order.index("fchmod", at) > at
    assert path.read_text() == "# new\n"


def test_an_acl_that_somebody_changed_since_is_a_conflict(target: Target) -> None:
    path = dressed(target)
    one = OneFile(target.root)
    one.tune()
    os.setxattr(path, ACL, acl(user=6, named_group=6, group=4, mask=6, other=4))
    assert any("was changed by somebody" in line for line in one.revert().conflicts)
    assert path.read_text() == "# new\n"


def test_a_default_acl_of_the_directory_does_not_stay_on_what_is_put_back(target: Target) -> None:
    path = target.root / OneFile.path[1:]
    plain = xattrs(path)
    os.setxattr(path.parent, DEFAULT, MASKED)
    before = state(target.root)
    one = OneFile(target.root)
    one.tune()
    assert xattrs(path) == plain
    one.revert()
    assert (state(target.root), xattrs(path)) == (before, plain)


def test_the_undo_text_puts_the_acl_back_before_the_mode(target: Target, tmp_path: Path) -> None:
    path = dressed(target)
    OneFile(target.root).tune()
    text = (target.root / JOURNAL / "journal/0001-undo.txt").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("setfattr")]
    assert f"-n {ACL} -v 0s{base64.b64encode(MASKED).decode()} -- " in line
    assert line.split(" && ")[-1].startswith("chmod -- 0664")
    if shutil.which("setfattr"):
        names = xattrs(path)
        path.unlink()
        environment = {**os.environ, "ROOT": str(target.root)}
        subprocess.run(["sh", str(target.root / JOURNAL / "journal/0001-undo.txt")], env=environment, check=True)
        assert xattrs(path) == names


def test_a_journal_keeps_attributes_raw(target: Target) -> None:
    path = dressed(target)
    OneFile(target.root).tune()
    (generation,) = target.host.store.read()
    assert dict(generation.entries[0].before.xattrs or ()) == xattrs(path)


@pytest.mark.parametrize("name", ["etc/default/irqbalance", "boot/grub/grubenv", "boot/grub/grub.cfg"])
def test_a_hard_link_is_refused_before_the_first_write(target: Target, name: str) -> None:
    (target.root / "other").hardlink_to(target.root / name)
    before = state(target.root)
    run = OneFile(target.root) if "default" in name else Target(target.root, KERNEL)
    with pytest.raises(TreeError, match=r"has 2 names \(hard links\).*cp -a .*nothing was changed") as caught:
        run.tune()
    assert f"/{name}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert state(target.root) == before
    assert not (target.root / JOURNAL).exists()


def test_a_menu_and_a_block_keep_their_acls(target: Target) -> None:
    paths = [target.root / "boot/grub/grub.cfg", target.root / "boot/grub/grubenv"]
    for path in paths:
        os.setxattr(path, ACL, MASKED)
    before = state(target.root)
    kernel = Target(target.root, KERNEL)
    kernel.tune()
    assert [os.getxattr(path, ACL) for path in paths] == [MASKED, MASKED]
    kernel.revert()
    assert [os.getxattr(path, ACL) for path in paths] == [MASKED, MASKED]
    assert state(target.root) == before


def test_a_filesystem_without_extended_attributes_goes_on_working(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object, **__: object) -> list[str]:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    for name in ("listxattr", "getxattr", "setxattr", "removexattr"):
        monkeypatch.setattr(os, name, none)
    before = state(target.root)
    target.tune()
    target.revert()
    assert state(target.root) == before


def test_an_attribute_that_cannot_be_kept_leaves_the_file_as_it_is(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = dressed(target)
    before, names = state(target.root), xattrs(path)
    real = os.setxattr

    def refuse(file: int, name: str, value: bytes) -> None:
        if name == ACL:
            raise OSError(errno.EPERM, "Operation not permitted")
        real(file, name, value)

    monkeypatch.setattr(os, "setxattr", refuse)
    with pytest.raises(TreeError, match=r"irqbalance could not be written: Operation not permitted.*there is back"):
        OneFile(target.root).tune()
    assert (state(target.root), xattrs(path)) == (before, names)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for attributes of the kernel's integrity subsystem")
def test_a_signature_goes_with_the_content_it_signs(target: Target) -> None:
    path = target.root / OneFile.path[1:]
    try:
        os.setxattr(path, "security.ima", b"\x03\x02signature")
    except OSError:
        pytest.skip("this filesystem keeps no security.ima")
    one = OneFile(target.root)
    one.tune()
    assert "security.ima" not in os.listxattr(path)
    one.revert()
    assert os.getxattr(path, "security.ima") == b"\x03\x02signature"


def test_attributes_that_are_not_known_stay_as_the_directory_gives_them(tmp_path: Path) -> None:
    """A new file, and one of an older journal, which knew none."""
    tree = Tree(str(tmp_path))
    (tmp_path / "etc").mkdir()
    tree.replace("/etc/x", Seen("file", content=b"x", mode="0644"))
    assert (tmp_path / "etc/x").stat().st_mode & 0o7777 == 0o644
    assert tree.look("/etc/x").satisfies(Seen("file", content=b"x", mode="0644"))


def test_undo_of_a_host_with_nothing_to_undo_does_nothing(target: Target) -> None:
    assert undo(target.host, [], 1).failure is None
