"""Every parser on odd texts: it answers or refuses, names lines that are there, and its work stays bounded."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from odd_text import EXAMPLES, texts

from numatune.core import cpuset, text
from numatune.core.collecting.snapshot import MAGIC, parse_stream
from numatune.core.errors import InputError, SnapshotError
from numatune.core.model import Line
from numatune.core.numbers import c_integer, natural
from numatune.core.parsers import (
    bls,
    cmdline,
    grub,
    grub_variables,
    interrupts,
    shell,
    sysctl,
    sysfs_conf,
    tmpfiles,
    tuned,
)

PATH = "/a/b.conf"
KEY = "kernel.numa_balancing"
NUMBERS = ("0", "1", "17", "0-3", "3-0", "0-99999", "ff", "1/2", "0-9:1/3", "(null)", "x")


class Parser(NamedTuple):
    """A parser, called with one text, and the words of its language."""

    call: Callable[[str], Any]
    words: tuple[str, ...]
    per: str = "\n"
    """What its lines end with, for those that name lines."""


def _environment(value: str) -> str:
    made = grub.with_variable(value[:900], "next_entry", "x")
    assert grub.environment(made)["next_entry"] == "x"
    return made


def _with_variable(value: str) -> str:
    made = shell.with_variable(value, "A", "1", instead_of="B")
    found = shell.assignments(PATH, made, "A")
    assert found[-1].value == "1"
    assert not shell.assignments(PATH, made, "B")
    return made


def _menu(value: str) -> Any:
    menu = grub.entries(PATH, value)
    return menu, [grub.pick(menu, name) for name in ("0", "1>0", "9" * 5000, "x", grub.default_name(value, {}))]


def _sorted(value: str) -> Any:
    found = [bls.parse(f"/e/{number}{part[:40]}.conf", part) for number, part in enumerate(value.split("=")[:20])]
    return bls.newest_first(found)


MENU = (
    "menuentry",
    "submenu",
    "'a'",
    '"b"',
    "{",
    "}",
    "linux",
    "linux16",
    "/vmlinuz",
    "--id",
    "set default=",
    "if",
    "fi",
)
PARSERS = {
    "cpu list": Parser(cpuset.parse_list, NUMBERS),
    "cpu mask": Parser(cpuset.parse_mask, NUMBERS),
    "natural": Parser(natural, NUMBERS),
    "c_integer": Parser(c_integer, (*NUMBERS, "0x1", "-3", "010")),
    "lines": Parser(text.lines, ("a", "b")),
    "lines with ends": Parser(text.lines_with_ends, ("a", "b")),
    "systemd's lines": Parser(text.systemd_lines, ("a", "b")),
    "cmdline tokens": Parser(cmdline.tokens, ("isolcpus=", "a b", "--", *NUMBERS)),
    "cmdline values": Parser(lambda value: cmdline.values(value, "isolcpus"), ("isolcpus=", "iso_lcpus", *NUMBERS)),
    "cmdline isolcpus": Parser(cmdline.isolcpus, ("nohz", "domain", "managed_irq", *NUMBERS)),
    "cmdline cpus": Parser(lambda value: cmdline.cpus(value, "isolcpus"), ("isolcpus=", "irqaffinity=", *NUMBERS)),
    "sysctl assignments": Parser(
        lambda value: sysctl.assignments(PATH, value, KEY), (KEY, KEY.replace(".", "/"), "kernel.*", "-", "0", "1")
    ),
    "sysctl exclusions": Parser(lambda value: sysctl.excludes(value, KEY), (f"-{KEY}", "-kernel/numa_balancing", "-")),
    "sysctl listing": Parser(lambda value: sysctl.listing(value, KEY), (KEY, "0", "1")),
    "sysctl integer": Parser(sysctl.integer, NUMBERS),
    "sysfs.conf": Parser(lambda value: sysfs_conf.applied(PATH, value), ("a/b", "mode", "owner", "=", "#", "c")),
    "tmpfiles": Parser(
        lambda value: tmpfiles.writes(PATH, value), ("w", "w!", "/sys/a", "-", "-", "-", "-", "%%", "\\x4")
    ),
    "tuned": Parser(lambda value: tuned.sections(PATH, value), ("[cpu]", "[main]", "governor", "include", "${a}", "x")),
    "bls": Parser(lambda value: bls.parse(PATH, value), ("title", "version", "options", "6.1.0", "ro")),
    "bls order": Parser(_sorted, ("version", "6.1.0", "el9", "rescue", "0")),
    "grub menu": Parser(_menu, MENU),
    "grub environment": Parser(grub.environment, ("saved_entry=", "next_entry=", "a", "\\")),
    "grub environment, written": Parser(_environment, ("saved_entry=", "next_entry=", "a", "\\")),
    "grub arguments": Parser(lambda value: grub.arguments(Line(PATH, 1, value)), ("linux", "/vmlinuz", "ro", "#")),
    "grub expansion": Parser(lambda value: grub.expand(value, {"a": "b"}), ("$a", "${a}", "$b", "x")),
    "grub variables": Parser(
        lambda value: grub_variables.variables(value, {"a": "b"}),
        ("set", "a=b", "if", '[ -z "${a}" ];', "then", "fi", "export", "function", "{", "}", "unset", "read", "--set="),
    ),
    "shell variable": Parser(lambda value: shell.variable(PATH, value, "A"), ("A=", "export", "B=", "x", "'y'")),
    "shell assignments": Parser(
        lambda value: shell.assignments(PATH, value, "A"), ("A=", "export ", "B=", "x", " # c")
    ),
    "shell, written": Parser(_with_variable, ("A=", "export ", "B=", "x", " # c")),
    "interrupts": Parser(interrupts.actions, ("24:", " 9:", "NMI:", "PCI-MSI", "eth0")),
    "interrupts of each CPU": Parser(interrupts.per_cpu, (" 11: ", "GICv3 ", "27 ", "xen-percpu ", "RISC-V INTC ")),
    "interrupts that stayed": Parser(interrupts.kept, ("24", "31")),
    "interrupts, managed": Parser(interrupts.looks_managed, ("nvme0q", "virtio", "-req.", "0", "1")),
    "interrupts, mask": Parser(lambda value: interrupts.mask_like(value, cpuset.CpuSet(5)), ("ff", "00000000", ",")),
    "stream": Parser(
        lambda value: parse_stream(f"{MAGIC}\n{value}\n@end\n"),
        (
            "@states",
            "@texts",
            "@command x 0",
            "f /a",
            "d /a",
            "w a b",
            "t /a",
            "| x",
            "/a:b",
            "@errors",
            "n /a",
            "e /a",
        ),
    ),
}


def named(found: Any) -> list[Line]:
    """Return every line that a result names."""
    if isinstance(found, Line):
        return [found]
    if is_dataclass(found):
        found = vars(found)
    if not isinstance(found, (dict, list, tuple)):
        return []
    items = found.values() if isinstance(found, dict) else found
    return [line for item in items for line in named(item)]


@pytest.mark.parametrize("name", PARSERS)
def test_parser_answers_or_refuses(name: str) -> None:
    parser = PARSERS[name]
    count = 0
    for value in texts(name, parser.words):
        count += 1
        try:
            found = parser.call(value)
        except (InputError, SnapshotError):
            continue
        shown = value.split("\n")
        for line in named(found):
            # The options of a boot entry may stand on several lines, of which the last one is named.
            where = value if name == "bls" else shown[line.line - 1] if line.line else ""
            assert all(word in where for word in line.text.split())
    assert count == EXAMPLES


# One text each that a careless expression or loop takes the square of its length for: {} is what grows.
GROWING = {
    "shell assignments": "A=a{ }b",
    "shell variable": "A={x}",
    "shell, written": "A=a{ }b",
    "grub environment, written": "a={x}\\",
    "tuned": "[main]\ninclude=a{ }b",
    "tmpfiles": "w{ }x",
    "sysfs.conf": "a{ }=x",
    "cmdline tokens": 'a={"}{ }',
    "cpu list": "{1,}x",
    "cpu mask": "{00000000,}x",
    "natural": "{9}",
    "bls order": "version {9}",
    "grub menu": "{submenu a }",
    "grub variables": 'set a="{x}',
    "sysctl assignments": "kernel.numa_balancing{ }=0{ }#",
    "interrupts of each CPU": "{ }1: { }GIC",
    "systemd's lines": "{\r}",
    "grub arguments": "linux{ }",
    "interrupts, managed": "nvme{1}q",
}


@pytest.mark.parametrize("name", GROWING)
def test_parsers_work_grows_with_the_text(name: str) -> None:
    """Eight times the text takes about eight times as long; by its square it would be sixty-four."""
    from time import process_time

    def grown(count: int) -> str:
        return re.sub(r"\{(.[^}]*)\}", lambda found: found[1] * count, GROWING[name], flags=re.DOTALL)

    def took(count: int) -> float:
        value, best = grown(count), float("inf")
        for _ in range(5):
            start = process_time()
            with suppress(InputError):
                PARSERS[name].call(value)
            best = min(best, process_time() - start)
        return best

    # Where both are too short to tell, nothing is slow.
    assert took(64_000) < max(0.02, 24 * took(8_000))


def test_nobody_splits_lines_as_python_does() -> None:
    """A form feed in a comment is no end of it: `core.text` says where lines end."""
    core = Path(sys.modules["numatune"].__file__ or "").parent / "core"
    assert [path for path in core.rglob("*.py") if ".splitlines(" in path.read_text()] == []


ENDED = {
    "a\nb": ["a", "b"],
    "a\r\nb\r\n": ["a", "b"],
    "\n\n": ["", ""],
    "": [],
    "a\u2028b\fc\x1cd\x85e": ["a\u2028b\fc\x1cd\x85e"],
    "a\rb": ["a\rb"],
}


@pytest.mark.parametrize("value", ENDED)
def test_lines_end_at_line_feeds(value: str) -> None:
    assert text.lines(value) == ENDED[value]
    assert "".join(text.lines_with_ends(value)) == value


def test_systemd_ends_lines_at_more() -> None:
    assert text.systemd_lines("a\rb\nc\0d\r\n") == [(1, "a"), (1, "b"), (2, "c"), (2, "d")]


# What is one comment to systemd, and what is two lines to it.
COMMENTS = {"\u2028": False, "\f": False, "\v": False, "\x1c": False, "\x85": False, "\n": True, "\r": True, "\0": True}


@pytest.mark.parametrize("end", COMMENTS)
def test_what_stands_in_a_comment_is_no_setting(end: str) -> None:
    assert bool(sysctl.assignments(PATH, f"# note{end}{KEY} = 0\n", KEY)) is COMMENTS[end]
    assert bool(tmpfiles.writes(PATH, f"# note{end}w /sys/a - - - - 0\n")) is COMMENTS[end]


def test_arguments_are_separated_as_the_kernel_does() -> None:
    assert cmdline.tokens("a\u2028b c\x1cd\te") == ["a\u2028b", "c\x1cd", "e"]
    assert sysctl.assignments(PATH, f"{KEY}\u00a0= 0\n", KEY) == ()


@pytest.mark.skipif(not shutil.which("systemd-tmpfiles"), reason="needs systemd-tmpfiles, which writes below --root")
@pytest.mark.parametrize("end", COMMENTS)
def test_lines_end_where_systemd_ends_them(end: str, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "etc/tmpfiles.d").mkdir(parents=True)
    value, conf = tmp_path / "x/a", tmp_path / "etc/tmpfiles.d/a.conf"
    value.write_text("")
    conf.write_text(f"# note{end}w /x/a - - - - 0\n", newline="")
    subprocess.run(["systemd-tmpfiles", "--create", f"--root={tmp_path}"], check=False, capture_output=True)
    assert bool(value.read_text()) is COMMENTS[end]
