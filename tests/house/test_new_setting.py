"""A setting of a builder's kind is its file, its line in the catalogue and its cases: four made-up ones in a copy.

The copy gets these and nothing else; `make pages` makes the rest, and the house's and the builders' own cases play
there. What a new setting needs beside that fails here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from synthetic import host, write

from numatune.core.catalogue import names

ROOT = Path(__file__).parents[2]
CATALOGUE = "numatune/core/catalogue.py"
ONE_FILE, EACH_CPU = "tests/core/test_kit.py", "tests/core/test_kit_per_cpu.py"
TUNED = "tests/transaction/test_values.py"

VALUE = """
MADE = setting_of(
    {kind}(
        setting="{name}",
        wanted="0",
        harm="it costs time",
        absent="this kernel has none",
        {more}
    ),
    title="Made up",
    why="It is made up.",
    remedy="Write 0.",
    references=("https://docs.kernel.org/",),
)
"""
_SYSCTL = """path="/proc/sys/vm/made",
        key="vm.made",
        starts=first(sysctl_argument("vm.made", integer), always("1")),
        by_default=True,
        keeper=SysctlD("vm.made", "/etc/sysctl.d/99-zz-numatune-made.conf", "It costs time."),"""
_FILE = """path="/sys/kernel/mm/made/run",
        starts=always("1"),
        keeper=TmpfilesD("/sys/kernel/mm/made/run", "/etc/tmpfiles.d/zz-numatune-made.conf"),"""
KINDS = {
    "made_sysctl": ("memory", "Value", "from ...kit.sysctl_d import SysctlD\n", _SYSCTL),
    "made_file": ("interrupts", "Value", "from ...kit.tmpfiles_d import TmpfilesD\n", _FILE),
    "made_cpu": ("cpu", "PerCpu", "from ...kit.per_cpu import PerCpu\n", 'file="power/made", starts=always("1"),'),
    "made_report": ("isolation", "Value", "", 'path="/sys/kernel/made", starts=always("1"), keeper=None,'),
}
"""Name, folder, builder, what else it imports, what else it says."""


def declared(name: str) -> str:
    """Return the file of a made-up setting."""
    _, kind, imports, more = KINDS[name]
    head = f'"""Made up."""\n\nfrom __future__ import annotations\n\n{imports}'
    head += "from ...kit.starts import always, first, sysctl_argument\n"
    return f"{head}from ...kit.value import Value, integer, setting_of\n{VALUE.format(kind=kind, name=name, more=more)}"


def insert(path: Path, behind: str, lines: str) -> None:
    """Put lines behind the first line that ends so."""
    head, found, tail = path.read_text("utf-8").partition(behind + "\n")
    assert found, (path, behind)
    path.write_text(head + found + lines + tail, "utf-8")


def content(folder: Path) -> Mapping[str, bytes]:
    made = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in made if "__pycache__" not in path.parts}


def copied(folder: Path) -> Path:
    """Copy the checkout and add the settings; return the copy."""
    made = folder / "numatune"
    left = (".git", ".venv*", "build", "dist", "shared", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache")
    shutil.copytree(ROOT, made, symlinks=True, ignore=shutil.ignore_patterns(*left, ".ansible"))
    for name, (room, kind, *_) in KINDS.items():
        (made / f"numatune/core/settings/{room}/{name}.py").write_text(declared(name), "utf-8")
        line = f"from .settings.{room}.{name} import MADE as {name.upper()}\n"
        insert(made / CATALOGUE, "from .setting import Setting", line)
        insert(made / CATALOGUE, "    MITIGATIONS,", f"    {name.upper()},\n")
        if kind == "PerCpu":
            insert(made / EACH_CPU, "WRONG: dict[str, str] = {", f'    "{name}": "1",\n')
        else:
            starts = "" if name == "made_report" else ', starts="1"'
            insert(made / ONE_FILE, "OWN = {", f'    "{name}": Own("1"{starts}),\n')
        if name != "made_report":
            insert(made / TUNED, "WRONG = {", f'    "{name}": "1\\n",\n')
    return made


def call(copy: Path, *words: object) -> str:
    """Run the copy's Python, which must succeed; return what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    environment = {key: value for key, value in environment.items() if not key.startswith("PYTEST_")}
    argv = [sys.executable, *map(str, words)]
    done = subprocess.run(argv, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    # Of an audit, 1 and 3 say what it found.
    assert done.returncode in ((0, 1, 3) if "audit" in argv else (0,)), done.stdout + done.stderr
    return done.stdout


def test_a_new_setting_is_its_file_its_line_and_its_cases(tmp_path: Path) -> None:
    copy = copied(tmp_path)
    before = content(copy)
    call(copy, "tools/settings_pages.py")
    call(copy, "tools/tune_role.py")
    after = content(copy)
    # All else that tells of it is made, by these two; nothing is edited by hand.
    assert {path for path in after if after[path] != before.get(path)} == {
        "docs/settings/README.md",
        *(f"docs/settings/{name}.md" for name in KINDS),
        *(f"roles/tune/{name}" for name in ("README.md", "defaults/main.yml", "meta/argument_specs.yml")),
    }
    defaults = after["roles/tune/defaults/main.yml"].decode()
    assert {name for name in KINDS if f"tune_{name}_expected" in defaults} == set(KINDS) - {"made_report"}
    # The commands: told, judged in the catalogue's order, planned.
    order = list(names())
    at = order.index("mitigations") + 1
    order[at:at] = reversed(KINDS)
    for name in KINDS:
        told = json.loads(call(copy, "-m", "numatune", "explain", name, "--format", "json"))
        assert (told["setting"], list(told["options"])) == (name, ["expected"])
    files = host(8, numa_balancing="0")
    files |= {"proc/sys/vm/made": "1\n", "sys/kernel/mm/made/run": "1\n", "sys/kernel/made": "1\n"}
    files |= {f"sys/devices/system/cpu/cpu{cpu}/power/made": "1\n" for cpu in range(8)}
    write(files, tmp_path / "host")
    where = ("--root", tmp_path / "host", "--format", "json")
    (found,) = json.loads(call(copy, "-m", "numatune", "audit", *where))["hosts"]
    shown = {one["setting"]: one["runtime"] for one in found["findings"]}
    assert list(shown) == order
    assert [shown[name] for name in KINDS] == ["1"] * len(KINDS)
    (planned,) = json.loads(call(copy, "-m", "numatune", "plan", *where))["hosts"]
    assert "/etc/sysctl.d/99-zz-numatune-made.conf" in [change["path"] for change in planned["changes"]]
    # The house's rules and the builders' cases hold for it.
    tests = ["tests/house/test_pages.py", "tests/house/test_circles.py", "tests/house/test_layering.py"]
    chosen = "pages or circles or made_ or every or all or by_default"
    call(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n0", *tests, ONE_FILE, EACH_CPU, TUNED, "-k", chosen)
