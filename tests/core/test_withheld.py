"""Passwords and tokens in boot configuration: left out of whatever is read, by the script's sed as by Python."""

from __future__ import annotations

import gzip
import io
import os
import random
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from datetime import date
from pathlib import Path

import pytest
from core.grub_cfg import menu

from numatune.core import withheld
from numatune.core.collecting.collector import script
from numatune.core.collecting.snapshot import MAGIC, parse_stream
from numatune.core.model import Snapshot
from numatune.core.profile import builtin
from numatune.fleet.work import Work
from numatune.transport.captured.replay import from_file, from_root

HASH = "grub.pbkdf2.sha512.10000.5D1A00FF.77C0FFEE"
OUT = withheld.MARK

LINES = [
    (f"password_pbkdf2 root {HASH}", f"password_pbkdf2 root {OUT}"),
    ("\tpassword bob geheim", f"\tpassword bob {OUT}"),
    ('set superusers="root"; password root geheim', f'set superusers="root"; password root {OUT}'),
    (f"GRUB2_PASSWORD={HASH}", f"GRUB2_PASSWORD={OUT}"),
    ("if true; then password root geheim; fi", f"if true; then password root {OUT}; fi"),
    ("else password root geheim", f"else password root {OUT}"),
    ("password root '$geheim'", f"password root {OUT}"),
    ('if x; then password root "ge;heim" geheim\\; geheim; fi; }', f"if x; then password root {OUT}; fi; }}"),
    ('password root "geheim; geheim', f"password root {OUT}"),
    ("linux /vmlinuz root=UUID=1 password=geheim quiet", f"linux /vmlinuz root=UUID=1 password={OUT} quiet"),
    ('GRUB_CMDLINE_LINUX="a rd.iscsi.password=geheim"', f'GRUB_CMDLINE_LINUX="a rd.iscsi.password={OUT}"'),
    ('GRUB_CMDLINE_LINUX="my.Token=\\"ge heim\\" quiet"', f'GRUB_CMDLINE_LINUX="my.Token={OUT} quiet"'),
    ('x PASS="ge heim" y', f"x PASS={OUT} y"),
    ('x passwd="geheim und geheim', f'x passwd={OUT}"'),
    ('GRUB_PASSWORD="geheim"', f"GRUB_PASSWORD={OUT}"),
    # What the shell reads as one string with an argument that is empty, or in quotes of the other kind.
    ('GRUB_CMDLINE_LINUX="quiet token=" # geheim', f'GRUB_CMDLINE_LINUX="quiet token={OUT}"'),
    ("GRUB_CMDLINE_LINUX='quiet token=\"geheim' ", f"GRUB_CMDLINE_LINUX='quiet token={OUT}\"' "),
    # The other kind may stand behind blanks, or more than once.
    ("GRUB_CMDLINE_LINUX='quiet token=\"geheim '", f"GRUB_CMDLINE_LINUX='quiet token={OUT}\"'"),
    ('GRUB_CMDLINE_LINUX="quiet token=\'ge heim "', f'GRUB_CMDLINE_LINUX="quiet token={OUT}\'"'),
    ("x passwd=\"geheim''", f"x passwd={OUT}\"''"),
    ('GRUB_CMDLINE_LINUX="psk=\'geheim"', f'GRUB_CMDLINE_LINUX="psk={OUT}\'"'),
    ("options k3s.token=ge\\ heim ro", f"options k3s.token={OUT} ro"),
    ("x client_secret=geheim mysecret=geheim secret=geheim", f"x client_secret={OUT} mysecret={OUT} secret={OUT}"),
    ("systemd.set_credential=name:geheim ro", f"systemd.set_credential={OUT} ro"),
    ("inst.ks=https://bob:geheim@host/ks.cfg", f"inst.ks=https://{OUT}@host/ks.cfg"),
    ("inst.ks=https://host/ks?token=geheim&x=1 ro", f"inst.ks=https://host/ks?token={OUT} ro"),
    ("netroot=iscsi:bob:geheim@192.0.2.1::3260::iqn", f"netroot=iscsi:{OUT}@192.0.2.1::3260::iqn"),
    ("curlftpfs#ftp://bob:geheim@host /mnt fuse", f"curlftpfs#ftp://{OUT}@host /mnt fuse"),
    ("tailscale.authkey=geheim api_key=geheim", f"tailscale.authkey={OUT} api_key={OUT}"),
]
PLAIN = [
    "password_pbkdf2 root ${GRUB2_PASSWORD}",
    "menuentry 'Reset password of admin' --class x {",
    "linux /vmlinuz iommu.passthrough=1 secretmem.enable=1 nobypass=1 rd.luks.key=/keyfile",
    "netroot=iscsi:@192.0.2.1::3260::iqn:target root=/dev/x@y",
    "isolcpus=managed_irq,domain,2-7 nohz_full=2-7 BOOT_IMAGE=/boot/vmlinuz",
]


@pytest.mark.parametrize(("line", "left"), LINES)
def test_a_secret_is_left_out(line: str, left: str) -> None:
    assert withheld.text(f"first\n{line}\nlast\n") == f"first\n{left}\nlast\n"
    assert withheld.text(left) == left


@pytest.mark.parametrize("line", PLAIN)
def test_what_is_no_secret_stays(line: str) -> None:
    assert withheld.text(line) == line


@pytest.mark.parametrize("line", [line for line, _ in LINES if line.startswith(("GRUB_CMDLINE", "GRUB_PASS"))])
def test_what_is_left_is_still_read_as_the_shells(line: str) -> None:
    done = subprocess.run(["sh", "-n"], input=withheld.text(line) + "\n", capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_file_whose_name_looks_like_a_secret_is_read(tmp_path: Path) -> None:
    folder = boot(tmp_path)
    (folder / "etc/default/grub.d").mkdir()
    for name in ("password=x.cfg", "token=a@b.cfg", "pass=.cfg"):
        (folder / "etc/default/grub.d" / name).write_text("GRUB_TIMEOUT=1\nx=y:password=geheim\n")
    snapshot = parse_stream(run_script(folder, "sh"))
    for name in ("password=x.cfg", "token=a@b.cfg", "pass=.cfg"):
        assert snapshot.files[f"/etc/default/grub.d/{name}"] == f"GRUB_TIMEOUT=1\nx=y:password={OUT}\n"


def boot(folder: Path) -> Path:
    """A folder with boot configuration that holds every line of the table."""
    for name in ("boot/grub", "boot/loader/entries", "etc/default", "etc/kernel", "proc"):
        (folder / name).mkdir(parents=True)
    text = "\n".join(line for line, _ in LINES) + "\n"
    (folder / "boot/grub/grub.cfg").write_text(menu(normal="quiet password=geheim") + text)
    for name in ("boot/grub/grubenv", "boot/loader/entries/a.conf", "etc/default/grub", "etc/kernel/cmdline"):
        (folder / name).write_text(text)
    (folder / "proc/cmdline").write_text("root=/dev/x password=geheim ro\n")
    (folder / "proc/mounts").write_text("ftp://bob:geheim@host /mnt fuse ro 0 0\n/dev/vda1 / ext4 rw 0 0\n")
    return folder


def run_script(folder: Path, shell: str, tools: str = "", user: int | None = None) -> str:
    """The stream of the script, its configuration read from below a folder, the folder taken out of it again."""
    functions, mark, reads = script().partition("\n# --- What is read ---\n")
    for top in ("/boot", "/efi", "/etc", "/proc"):
        reads = re.sub(rf"(?<= ){top}(?=[/\n])", f"{folder}{top}", reads)
    text = functions.replace("%^(/boot/", f"%^{folder}(/boot/") + mark + reads
    done = subprocess.run(
        [*shell.split(), "-s"],
        input=text,
        capture_output=True,
        text=True,
        errors="replace",
        user=user,
        env={**os.environ, "PATH": tools + os.environ["PATH"]},
    )
    return done.stdout.replace(str(folder), "")


@pytest.mark.parametrize(
    "shell", [name for name in ("dash", "bash", "ksh", "busybox sh") if shutil.which(name.split()[0])]
)
def test_the_script_leaves_it_out_on_the_host(tmp_path: Path, shell: str) -> None:
    boot(tmp_path)
    stream = run_script(tmp_path, shell)
    assert stream.endswith("@end\n")
    assert "geheim" not in stream
    assert HASH not in stream
    snapshot = parse_stream(stream, secrets=True)
    assert snapshot == parse_stream(stream)
    # By sed as by Python, in each file, and no line is lost.
    for name in ("boot/grub/grub.cfg", "boot/grub/grubenv", "etc/default/grub", "proc/cmdline", "proc/mounts"):
        assert snapshot.files[f"/{name}"] == withheld.text((tmp_path / name).read_text())


def test_where_sed_cannot_leave_it_out_the_files_count_as_failed(tmp_path: Path) -> None:
    boot(tmp_path)
    (tmp_path / "bin").mkdir()
    tool = tmp_path / "bin/sed"
    tool.write_text(f'#!/bin/sh\ncase $1 in -E) exit 1;; esac\nexec {shutil.which("sed")} "$@"\n')
    tool.chmod(0o755)
    stream = run_script(tmp_path, "sh", f"{tool.parent}:")
    assert "geheim" not in stream
    assert "reading /boot/grub/grub.cfg failed" in parse_stream(stream).read("/boot/grub/grub.cfg").why()


def test_what_may_not_be_read_is_still_denied() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # another user than root looks in
        (boot(folder) / "boot/grub/grub.cfg").chmod(0)
        snapshot = parse_stream(run_script(folder, "sh", user=65534 if os.geteuid() == 0 else None))
    assert "needs root" in snapshot.read("/boot/grub/grub.cfg").why()
    assert OUT in snapshot.read("/etc/default/grub").text


def test_sed_and_python_are_one_of_mind() -> None:
    """Seeded lines of words, signs and quotes; what one leaves out, the other does."""
    seed = random.Random(20261128)
    parts = ["password", "Token", "secret", "secretmem", "pass", "=", "=", " ", "\t", '"', "'", "\\", "://", "@", ":"]
    parts += ["iscsi:", "geheim", "a", "/", ";", "grub.pbkdf2.", "password_pbkdf2 root ", "$", "-", "{", "&", "é"]
    lines = ["".join(seed.choices(parts, k=seed.randint(1, 14))) for _ in range(4000)]
    words = [word for edit in withheld.sed_edits() for word in ("-e", edit)]
    lines = [f"/proc/cmdline:{line}" for line in lines]
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(
        ["sed", "-E", *words], input="\n".join(lines), capture_output=True, text=True, check=True, env=environment
    )
    differ = [
        (line, said) for line, said in zip(lines, done.stdout.split("\n"), strict=True) if said != withheld.stream(line)
    ]
    assert differ == []


HOSTILE = {
    "letters": "a" * 10**6,
    "words": "password" * 120_000,
    "values": "password=" * 110_000,
    "quotes": 'password="' * 100_000,
    "mixed quotes": "password='\\\"" * 80_000,
    "backslashes": "password=" + "\\" * 10**6,
    "addresses": "://" * 300_000,
    "iscsi": "=iscsi:" * 150_000,
    "grub": "; password x " * 80_000,
}


@pytest.mark.parametrize("line", HOSTILE.values(), ids=HOSTILE)
def test_no_line_is_tried_from_every_character_on(line: str) -> None:
    """A quadratic expression would take hours for a line of a megabyte: then the whole test run ends by its limit."""
    code = "import sys; from numatune.core import withheld; withheld.text(sys.stdin.read())"
    subprocess.run([sys.executable, "-c", code], input=line, text=True, check=True, timeout=120)


def without_secrets(snapshot: Snapshot) -> bool:
    text = repr(snapshot)
    return "geheim" not in text and HASH not in text and OUT in text


def test_a_tree_an_archive_and_a_sosreport_hold_none(tmp_path: Path) -> None:
    folder = boot(tmp_path / "host")
    assert without_secrets(from_root(folder))
    for name, top in (("tree.tar", ""), ("sosreport.tar.gz", "sosreport-host/")):
        with tarfile.open(tmp_path / name, "w:gz" if name.endswith("gz") else "w") as archive:
            archive.add(folder, top or ".")
        assert without_secrets(from_file(tmp_path / name))


def stream_of(folder: Path) -> str:
    """A stream as an older numatune, or a hostile host, may send it: whole."""
    names = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_file()]
    states = "".join(f"f /{name}\n" for name in names)
    texts = "".join(f"/{name}:{line}\n" for name in names for line in (folder / name).read_text().splitlines())
    return f"{MAGIC}\n@states\nd /proc\nd /sys\nd /boot/grub\n{states}@texts\n{texts}@command uid 0\n| 0\n@end\n"


@pytest.mark.parametrize("kind", ["judge", "collect", "plan"])
def test_nothing_that_a_run_keeps_holds_any(tmp_path: Path, kind: str) -> None:
    (boot(tmp_path) / "etc/os-release").write_text("ID=debian\n")
    work = Work(kind, builtin("inference-latency"), date(2026, 11, 28))
    payload = work.make("host", stream_of(tmp_path)).payload
    text = (gzip.decompress(payload) if kind == "collect" else payload).decode()
    assert "geheim" not in text
    assert HASH not in text
    if kind == "collect":
        path = tmp_path / "host.numatune.gz"
        path.write_bytes(payload)
        assert from_file(path).files["/proc/cmdline"] == f"root=/dev/x password={OUT} ro\n"


def test_a_snapshot_of_an_older_numatune_is_judged_without_them(tmp_path: Path) -> None:
    folder = boot(tmp_path / "host")
    sink = io.BytesIO(gzip.compress(stream_of(folder).encode()))
    (tmp_path / "old.numatune.gz").write_bytes(sink.getvalue())
    assert without_secrets(from_file(tmp_path / "old.numatune.gz"))
    assert "geheim" in repr(parse_stream(stream_of(folder), secrets=True))


def test_only_the_modules_on_the_host_itself_ask_for_secrets() -> None:
    root = Path(__file__).resolve().parents[2]
    files = [path for folder in ("numatune", "plugins") for path in (root / folder).rglob("*.py")]
    asking = {path.relative_to(root).as_posix() for path in files if "secrets=True" in path.read_text()}
    assert {name for name in asking if "/core/" not in name} == {"plugins/module_utils/reading.py"}
    assert not {name for name in asking if name.startswith("numatune/core/")}


def test_a_module_tells_none() -> None:
    told = withheld.value({"a": [("password=geheim", 1)], "b": {"c": f"x {HASH}"}, "d": None})
    assert told == {"a": [[f"password={OUT}", 1]], "b": {"c": f"x {OUT}"}, "d": None}
