"""The text for undoing by hand: sh runs it, and nothing that it holds of others ends a comment or leaves its quotes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from numatune.core.undo.journal import ABSENT, Entry, Generation, Seen
from numatune.core.undo.recipe import recipe

HOSTILE = [
    "a\ntouch PWNED",
    "a\rtouch PWNED",
    "a\x0btouch PWNED\x85\u2028touch PWNED",
    "$(touch PWNED)`touch PWNED`",
    "'; touch PWNED; '",
    "\x1b]0;title\x07",
    "END\ntouch PWNED",
]


def run(generation: Generation, root: Path, tools: Path) -> None:
    tools.mkdir(exist_ok=True)
    for name in ("grub-editenv", "setfattr", "chroot", "chcon"):
        (tools / name).write_text("#!/bin/sh\nexit 0\n")
        (tools / name).chmod(0o755)
    text = root.parent / "undo.txt"
    text.write_bytes(recipe(generation).encode("utf-8", "surrogateescape"))
    environment = {**os.environ, "ROOT": str(root), "PATH": f"{tools}:{os.environ['PATH']}"}
    subprocess.run(["sh", str(text)], env=environment, cwd=root, capture_output=True, timeout=30)


@pytest.mark.parametrize("odd", HOSTILE)
def test_sh_runs_the_steps_and_nothing_that_a_name_or_a_value_holds(tmp_path: Path, odd: str) -> None:
    root = tmp_path / "root"
    for name in ("etc", "proc/sys/kernel/random"):
        (root / name).mkdir(parents=True)
    (root / "proc/sys/kernel/random/boot_id").write_text(f"{odd}\n")
    value = Seen("file", content=odd.encode())
    name = odd.replace("/", "_")
    whole = Seen("file", content=odd.encode(), mode="0640", uid=os.geteuid(), gid=os.getegid(), label=odd)
    entries = (
        Entry(odd, "link", "/etc/link", Seen("link", content=odd.encode()), ABSENT),
        Entry(odd, "link", f"/etc/{name}.link", Seen("link", content=b"\xff\n\xfe"), ABSENT),
        Entry(odd, "file", f"/etc/{name}", whole, ABSENT),
        Entry(odd, "file", f"/etc/gone-{name}", ABSENT, Seen("file")),
        Entry(odd, "file", "/etc/x", Seen("file", content=b"x\n", xattrs=((f"user.{name}", b"\0"),)), ABSENT),
        Entry(odd, "directory", f"/etc/{name}.d", ABSENT, Seen("directory")),
        Entry(odd, "runtime", f"/proc/{name}", value, value),
        Entry(odd, "once", f"/boot/grub/grubenv:{name}", value, value),
        Entry(odd, "menu", f"/boot/{name}/grub.cfg", value, Seen("file")),
        Entry(odd, "menu", f"/boot/{name}/2/grub.cfg", value, Seen("file", sha256="0" * 64)),
        Entry(odd, "service", f"{name}.service", value, value),
    )
    run(Generation(1, "recorded", odd, odd, entries), root, tmp_path / "tools")
    assert list(tmp_path.rglob("PWNED")) == []
    assert (root / "etc/link").readlink() == Path(odd)
    assert os.fsencode((root / "etc" / f"{name}.link").readlink()) == b"\xff\n\xfe"
    assert (root / "etc" / name).read_bytes() == odd.encode()
    assert (root / "proc" / name).read_bytes() == odd.strip().encode() + b"\n"


def test_every_comment_is_one_printable_line() -> None:
    odd = "".join(HOSTILE)
    link = Entry("x", "link", "/etc/x", Seen("link", content=odd.encode()), ABSENT)
    lines = recipe(Generation(1, "recorded", "b", odd, (link,))).split("\n")
    comments = [line for line in lines if line.startswith("#")]
    assert len(comments) == 4
    assert all(line.isprintable() for line in comments)
    assert "\\ntouch PWNED" in comments[-1]
