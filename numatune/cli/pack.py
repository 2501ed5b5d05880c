"""`numatune pack`: the recorder as one file and the packages that it needs, for a target without pip or a network."""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .. import __version__
from ..bench.errors import BenchError
from ..bench.packages.bundled import wanted
from . import packing
from .errors import OK, CliError
from .output import write_whole

SCHEMA = "numatune/pack/1"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="DIR", help="the folder; made if need be")
    parser.add_argument(
        "--python", type=_python, default=_python(here), metavar="X.Y", help=f"the target's Python (default: {here})"
    )
    parser.add_argument(
        "--arch", choices=packing.ARCHITECTURES, default=_here(), help="the target's architecture (default: this one's)"
    )
    wheels = parser.add_mutually_exclusive_group()
    wheels.add_argument(
        "--wheels", type=Path, metavar="DIR", help="take the wheels from this folder, without a network"
    )
    wheels.add_argument("--no-wheels", action="store_true", help="the recorder alone: the target has the packages")
    parser.add_argument(
        "--trust-wheel",
        action="append",
        default=[],
        type=_digest,
        metavar="SHA256",
        help="take a wheel of this hash too, one that you built yourself; no other than the package index's is taken",
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="(default: text)")
    parser.epilog = (
        "on the target, with both in one folder: python3 numatune-bench.pyz bench -o FILE. "
        "exit codes: 0 made; 2 bad usage or input, no fitting wheel or no network"
    )


def run(args: argparse.Namespace) -> int:
    """Make the pack, or leave what is right already; print its files."""
    try:
        versions = wanted(args.python)
    except BenchError as error:
        raise CliError(str(error), error.code) from error
    folder: Path = args.output
    _make_folder(folder)
    made = [_put_program(folder, args.trust_wheel)]
    if not args.no_wheels:
        target = packing.Target(args.python, args.arch, tuple(args.trust_wheel))
        made += _put_wheels(folder, versions, target, args.wheels)
    _print(args, folder, made)
    return OK


def _python(word: str) -> tuple[int, int]:
    major, dot, minor = word.partition(".")
    if not dot or not major.isdecimal() or not minor.isdecimal():
        raise argparse.ArgumentTypeError(f"{word!r} is not a Python such as 3.9")
    return int(major), int(minor)


def _digest(word: str) -> str:
    if not re.fullmatch("[0-9a-fA-F]{64}", word):
        raise argparse.ArgumentTypeError(f"{word!r} is no SHA-256: 64 hexadecimal digits, as sha256sum prints them")
    return word.lower()


def _here() -> str:
    return platform.machine() if platform.machine() in packing.ARCHITECTURES else packing.ARCHITECTURES[0]


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CliError(f"cannot create {folder}: {error.strerror}; name another folder with -o") from error


def _put_program(folder: Path, trusted: list[str]) -> tuple[str, bool]:
    """(name, whether it is new) of the recorder."""
    content = packing.program(packing.recorder_files(Path(__file__).parents[1] / "bench"), __version__, trusted)
    target = folder / packing.PROGRAM
    if target.is_file() and target.read_bytes() == content:
        return target.name, False
    write_whole(target, content)
    return target.name, True


def _put_wheels(
    folder: Path, versions: dict[str, str], target: packing.Target, source: Path | None
) -> list[tuple[str, bool]]:
    """(name, whether it is new) of each wheel; a CliError names the first that cannot be had."""
    made, missing = [], []
    for package, version in sorted(versions.items()):
        name = target.choose(_names(folder), package, version)
        if name and not packing.why_not(folder / name, package, version, target):
            made.append((name, False))
        elif source is not None:
            made.append((_take(source, folder, package, version, target), True))
        else:
            missing.append((package, version))
    if missing:
        made += [(name, True) for name in _download(folder, missing, target)]
    return made


def _names(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir() if path.suffix == ".whl"]
    except OSError as error:
        raise CliError(f"{folder}: {error.strerror}; name a folder that holds wheels") from error


def _take(source: Path, folder: Path, package: str, version: str, target: packing.Target) -> str:
    """Copy the wheel of a package from a folder of wheels; its name."""
    name = target.choose(_names(source), package, version)
    if name is None:
        there = ", ".join(sorted(_names(source))) or "no wheel at all"
        raise CliError(f"{source} has no wheel of {package} {version} for {target}; there is {there}")
    wrong = packing.why_not(source / name, package, version, target)
    if wrong:
        raise CliError(f"{source / name}: {wrong}")
    write_whole(folder / name, (source / name).read_bytes())
    return name


def _download(folder: Path, missing: list[tuple[str, str]], target: packing.Target) -> list[str]:
    """Fetch wheels by pip into a folder of their own, check them, and only then put them into the pack."""
    with tempfile.TemporaryDirectory(prefix=".numatune-", dir=folder) as place:
        words = ["--python-version", ".".join(map(str, target.python)), "--implementation", "cp", "--dest", place]
        for tag in packing.platform_tags(target.arch):
            words += ["--platform", tag]
        words += [f"{package}=={version}" for package, version in missing]
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
        command += ["download", "--quiet", "--only-binary=:all:", "--no-deps", *words]
        print("numatune: fetching " + ", ".join(" ".join(one) for one in missing), file=sys.stderr, flush=True)
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, stdin=subprocess.DEVNULL
        )
        if done.returncode:
            raise CliError(_pip_failed(done.stderr, missing, target))
        names = []
        for package, version in missing:
            name = target.choose(_names(Path(place)), package, version)
            path = Path(place) / name if name else None
            wrong = packing.why_not(path, package, version, target) if path else "pip brought none"
            if name is None or wrong:
                raise CliError(f"the wheel of {package} {version}: {wrong}; try again, or give one with --wheels DIR")
            names.append(name)
        for name in names:
            shutil.move(Path(place) / name, folder / name)
        return names


def _pip_failed(said: str, missing: list[tuple[str, str]], target: packing.Target) -> str:
    """One line for what pip says in many."""
    what = " and ".join(" ".join(one) for one in missing)
    remedy = "or give the wheels with --wheels DIR"
    if "No module named pip" in said:
        return f"{sys.executable} has no pip to fetch {what} with: install pip there, {remedy}"
    if any(
        word in said
        for word in ("NewConnectionError", "Connection to ", "ConnectTimeout", "getaddrinfo", "unreachable")
    ):
        return f"no network to fetch {what} for {target}: run this where there is one, {remedy}"
    if "No matching distribution" in said:
        return f"the package index has no wheel of {what} for {target}: check --python and --arch, {remedy}"
    last = [line.strip() for line in said.splitlines() if line.strip().startswith("ERROR")]
    return f"pip could not fetch {what} for {target}: {last[-1] if last else 'it does not say why'}; {remedy}"


def _print(args: argparse.Namespace, folder: Path, made: list[tuple[str, bool]]) -> None:
    if args.format == "text":
        for name, new in made:
            print(f"{'made' if new else 'kept'} {folder / name}")
        return
    files = [
        {"name": name, "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest(), "new": new}
        for name, new in made
    ]
    python = f"{args.python[0]}.{args.python[1]}"
    about = {"schema": SCHEMA, "version": __version__, "python": python, "arch": args.arch}
    print(json.dumps({**about, "folder": str(folder.resolve()), "files": files}, indent=1))
