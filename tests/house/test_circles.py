"""Nothing is imported in a circle, and nothing upwards.

Of what lies side by side in a package, modules and folders, none may import itself by way of the others.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path, PurePosixPath

import pytest
from house.rules import imported

ROOT = Path(__file__).parents[2]

# The folders of a package, each of which may import those before it.
ORDER = {
    "numatune.core": "parsers machine undo loaders kit settings collecting".split(),
    "numatune.bench": "placing packages model counters watching injecting".split(),
    "numatune.transport": "host_keys ssh_config ssh openssh captured".split(),
}

Arrow = tuple[str, str]


def arrows(sources: Mapping[str, str]) -> set[Arrow]:
    """Return (module, module that it imports) for Python files, path to text; imports in functions count as well."""
    modules = {module_of(PurePosixPath(place)): place for place in sources}
    found = set()
    for module, place in modules.items():
        for _, name, _ in imported(PurePosixPath(place), ast.parse(sources[place])):
            there = next((part for part in (name, name.rpartition(".")[0]) if part in modules), None)
            if there is not None and there != module:
                found.add((module, there))
    return found


def module_of(path: PurePosixPath) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def beside(package: str, found: Iterable[Arrow]) -> Iterator[Arrow]:
    """Yield the arrows between what lies directly in a package, by the names that it has there."""
    within = package + "."
    for one, other in found:
        if one.startswith(within) and other.startswith(within):
            first, second = (name[len(within) :].partition(".")[0] for name in (one, other))
            if first != second:
                yield first, second


def circle(package: str, found: Iterable[Arrow]) -> set[str]:
    """Return the names in one circle of a package, none where there is none."""
    graph: TopologicalSorter[str] = TopologicalSorter()
    for first, second in sorted(beside(package, found)):
        graph.add(first, second)
    try:
        graph.prepare()
    except CycleError as error:
        return set(error.args[1])
    return set()


def upward(package: str, found: Iterable[Arrow]) -> list[str]:
    """Return the imports that go against the order of a package's folders."""
    order = ORDER[package]
    ranked = sorted((one, other) for one, other in beside(package, found) if one in order and other in order)
    return [f"{one} imports {other}" for one, other in ranked if order.index(one) < order.index(other)]


FILES = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in ROOT.glob("numatune/**/*.py")}
ARROWS = arrows(FILES)
PACKAGES = sorted({module_of(PurePosixPath(place).parent) for place in FILES})


def test_the_imports_are_seen() -> None:
    assert ("numatune.core.audit", "numatune.core.catalogue") in ARROWS
    assert {"numatune", "numatune.core", "numatune.core.settings", "numatune.transport.ssh"} <= set(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_package_has_a_circle(package: str) -> None:
    assert circle(package, ARROWS) == set()


@pytest.mark.parametrize("package", ORDER)
def test_no_folder_imports_upwards(package: str) -> None:
    assert upward(package, ARROWS) == []


@pytest.mark.parametrize("package", ORDER)
def test_contributing_lists_the_folders_in_that_order(package: str) -> None:
    folder = ROOT / package.replace(".", "/")
    assert {path.parent.name for path in folder.glob("*/__init__.py")} == set(ORDER[package])
    table = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition(f"| in `{package.replace('.', '/')}` |")[2]
    rows = table.partition("\n\n")[0].splitlines()
    assert [row.split("`")[1] for row in rows if row.startswith("| `")] == ORDER[package]


CIRCLES = [
    ({"p/a.py": "from . import b", "p/b.py": "from .a import x"}, {"a", "b"}),
    ({"p/a.py": "from .d.b import y", "p/d/b.py": "from ..c import z", "p/c.py": "from .a import x"}, {"a", "c", "d"}),
    ({"p/a.py": "from .d.b import y", "p/d/b.py": "", "p/d/c.py": "from ..a import x"}, {"a", "d"}),
    ({"p/a.py": "def f():\n    from . import b", "p/b.py": "import p.a"}, {"a", "b"}),
    ({"p/a.py": "from .b import x", "p/b.py": "from .c import y", "p/c.py": "import os"}, set()),
]


@pytest.mark.parametrize(("sources", "names"), CIRCLES)
def test_a_circle_is_found(sources: dict[str, str], names: set[str]) -> None:
    assert circle("p", arrows(sources)) == names


def test_an_import_upwards_is_found() -> None:
    sources = {
        "numatune/core/kit/a.py": "from ..settings import b",
        "numatune/core/settings/b.py": "from ..parsers.c import x",
        "numatune/core/parsers/c.py": "",
    }
    assert upward("numatune.core", arrows(sources)) == ["kit imports settings"]
