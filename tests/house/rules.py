"""The house rules as functions on source text: what a file at a place may import and call."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import PurePosixPath

# Layer -> what else of numatune it may import. `cli` may import everything.
LAYERS: dict[str, tuple[str, ...]] = {
    "core": (),
    "transport": ("numatune.core",),
    "fleet": ("numatune.transport", "numatune.core"),
    "bench": (),
    "verdict": ("numatune.core", "numatune.bench"),
    "report": (
        "numatune.core.host_status",
        "numatune.core.model",
        "numatune.core.change",
        "numatune.core.report_lines",
        "numatune.bench.counted",
        "numatune.bench.result",
        "numatune.verdict",
    ),
    "store": ("numatune.transport", "numatune.core"),
}

# The standard library's modules that compute only. All others could read a file, a clock or the environment.
PURE_STDLIB = frozenset(
    "__future__ abc base64 binascii bisect collections contextlib copy dataclasses datetime decimal difflib enum"
    " fnmatch fractions functools graphlib hashlib heapq ipaddress itertools json math numbers operator posixpath re"
    " shlex statistics string struct textwrap types typing unicodedata zlib".split()
)
IMPURE_CALLS = frozenset("open print input __import__ exec eval compile breakpoint".split())
CLOCK_CALLS = frozenset("now utcnow today".split())
ON_CONTROLLER = frozenset({"ansible", "yaml"})
"""What a lookup may import too: it runs inside ansible-playbook."""
SSH_LIBRARIES = frozenset("fabric invoke paramiko".split())
OPTIONAL_OF_BENCH = frozenset("numpy onnxruntime".split())
COLLECTION = "ansible_collections.numatune.latency"

# New in Python 3.10 or later, and not a matter of syntax.
NEWER_KEYWORDS = {"zip": {"strict"}, "dataclass": {"slots", "kw_only", "weakref_slot"}, "field": {"kw_only"}}
NEWER_ATTRIBUTES = frozenset("bit_count pairwise batched TypeAlias TypeGuard ParamSpec StrEnum tomllib Self".split())


def violations(place: str, source: str) -> list[str]:
    """Return what a file breaks, one line each; `place` is its path from the repository's root."""
    path = PurePosixPath(place)
    python39 = runs_on_targets(path)
    try:
        tree = ast.parse(source, feature_version=(3, 9) if python39 else None)
    except SyntaxError as error:
        return [f"{place}:{error.lineno}: not Python 3.9: {error.msg}" if python39 else f"{place}: {error}"]
    found = [*_imports(path, tree), *_calls(path, tree)]
    if python39:
        found.extend(_newer(tree))
    return [f"{place}:{line}: {what}" for line, what in sorted(found)]


def runs_on_targets(path: PurePosixPath) -> bool:
    """Return whether a file runs on the hosts, under whatever Python they have."""
    return path.parts[0] == "plugins" or path.parts[:2] in (("numatune", "core"), ("numatune", "bench"))


def layer_of(path: PurePosixPath) -> str:
    """Return the layer that a file under numatune/ is in; "" for the package's own files."""
    if path.parts == ("numatune", "__main__.py"):
        return "cli"
    return path.parts[1] if len(path.parts) > 2 else ""


def imported(path: PurePosixPath, tree: ast.AST) -> Iterator[tuple[int, str, bool]]:
    """Yield (line, absolute dotted name, was it written relative) of every import, nested ones too."""
    package = path.with_suffix("").parts[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, False
        elif isinstance(node, ast.ImportFrom):
            if not node.level:
                yield from ((node.lineno, f"{node.module}.{alias.name}", False) for alias in node.names)
                continue
            base = package[: len(package) - node.level + 1]
            if node.level > len(package):
                yield node.lineno, "(beyond the root)", True
                continue
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{module}.{alias.name}", True) for alias in node.names)


def _imports(path: PurePosixPath, tree: ast.AST) -> Iterator[tuple[int, str]]:
    for line, name, relative in imported(path, tree):
        top = name.partition(".")[0]
        if path.parts[0] == "plugins":
            if not (_plugin_may_import(name, top) or (path.parts[1] == "lookup" and top in ON_CONTROLLER)):
                yield line, f"a plugin imports {name}: only ansible.module_utils, the core and the standard library"
            continue
        layer = layer_of(path)
        if top == "numatune":
            if not _layer_may_import(layer, name):
                yield line, f"{layer or 'the package'} imports {name}: against the direction of dependency"
            elif layer == "core" and not relative:
                yield line, f"core imports {name} by its absolute name, which is another one inside the collection"
            continue
        if relative:
            yield line, f"{name} lies outside the package"
        if layer == "core" and top not in PURE_STDLIB:
            yield line, f"core imports {top}, which is not on the list of pure modules"
        if layer == "bench" and top not in sys.stdlib_module_names and top not in OPTIONAL_OF_BENCH:
            yield line, f"bench imports {top}: only the standard library, numpy and onnxruntime are on a target"
        if top in SSH_LIBRARIES and not _is_ssh(path):
            yield line, f"{top} outside transport/ssh"


def _is_ssh(path: PurePosixPath) -> bool:
    return path.with_suffix("").parts[:3] == ("numatune", "transport", "ssh")


def _plugin_may_import(name: str, top: str) -> bool:
    if top == "ansible":
        return name.startswith("ansible.module_utils.")
    if top in ("ansible_collections", "plugins"):
        shared = (f"{COLLECTION}.plugins.module_utils.", "plugins.module_utils.")
        return name.startswith(shared)
    return top in sys.stdlib_module_names


def _layer_may_import(layer: str, name: str) -> bool:
    if layer == "cli":
        return True
    if layer in ("core", "bench"):
        return _within(name, f"numatune.{layer}")
    if name == "numatune.__version__":
        return True
    return _within(name, f"numatune.{layer}") or any(_within(name, allowed) for allowed in LAYERS.get(layer, ()))


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def _calls(path: PurePosixPath, tree: ast.AST) -> Iterator[tuple[int, str]]:
    if path.parts[0] == "plugins":
        return
    layer = layer_of(path)
    # The recorder travels to targets alone, as a zipapp: its entry point is its command line.
    may_print = layer == "cli" or path.parts == ("numatune", "bench", "__main__.py")
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and not may_print and _name(node.exc) == "SystemExit":
            yield node.lineno, "only the command line exits"
        if isinstance(node, ast.Attribute) and not may_print and _dotted(node) in ("sys.stdout", "sys.stderr"):
            yield node.lineno, f"{_dotted(node)}: only the command line prints"
        if not isinstance(node, ast.Call):
            continue
        called = _dotted(node.func)
        if called in ("print", "exit", "quit", "sys.exit", "os._exit") and not may_print:
            yield node.lineno, f"{called}(): only the command line prints or exits"
        if layer == "core" and called in IMPURE_CALLS - {"print"}:
            yield node.lineno, f"{called}() in the core"
        if layer == "core" and isinstance(node.func, ast.Attribute) and node.func.attr in CLOCK_CALLS:
            yield node.lineno, f"{called}() in the core: a date is handed in"


def _newer(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in NEWER_ATTRIBUTES:
            yield node.lineno, f"{node.attr} is newer than Python 3.9"
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if alias.name in NEWER_ATTRIBUTES:
                    yield node.lineno, f"{alias.name} is newer than Python 3.9"
        elif isinstance(node, ast.Call):
            newer = NEWER_KEYWORDS.get(_dotted(node.func).rpartition(".")[2], set())
            for keyword in node.keywords:
                if keyword.arg in newer:
                    yield node.lineno, f"{_dotted(node.func)}({keyword.arg}=) is newer than Python 3.9"


def _name(node: ast.expr | None) -> str:
    return _dotted(node.func) if isinstance(node, ast.Call) else _dotted(node)


def _dotted(node: ast.expr | None) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return ""
