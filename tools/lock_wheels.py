"""Print the table of numatune/bench/packages/locks.py: the SHA-256 of every wheel that `numatune pack` fetches.

Each wheel is downloaded as the pack does it, hashed, and held against what the index itself says of it. Run it after
the versions in LOCKS changed, and put what it prints in place of what WHEELS holds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from numatune.bench.packages.locks import LOCKS, lock_for
from numatune.cli.packing import ARCHITECTURES, platform_tags

NEWEST = (3, 14)


def main() -> int:
    """Print one line for each wheel, sorted; 1 where the index and the file differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--newest", default=f"{NEWEST[0]}.{NEWEST[1]}", metavar="X.Y", help="(default: %(default)s)")
    newest = int(parser.parse_args().newest.partition(".")[2])
    found: dict[str, str] = {}
    for minor in range(min(LOCKS)[1], newest + 1):
        for arch in ARCHITECTURES:
            for package, version in sorted(lock_for((3, minor)).items()):
                if not _add(found, package, version, f"3.{minor}", arch):
                    return 1
    for name, digest in sorted(found.items()):
        print(f'    "{name}":\n    "{digest}",')
    return 0


def _add(found: dict[str, str], package: str, version: str, python: str, arch: str) -> bool:
    words = ["--python-version", python, "--implementation", "cp", "--only-binary=:all:", "--no-deps"]
    words += [word for tag in platform_tags(arch) for word in ("--platform", tag)]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    wanted = f"{package}=={version}"
    with tempfile.TemporaryDirectory() as place:
        # What the index says, without the file.
        asked = ["install", "--quiet", "--dry-run", "--ignore-installed", "--target", f"{place}/x", "--report", "-"]
        report = subprocess.run([*pip, *asked, *words, wanted], check=True, capture_output=True, text=True).stdout
        (said,) = (item["download_info"] for item in json.loads(report)["install"])
        subprocess.run([*pip, "download", "--quiet", "--no-cache-dir", "--dest", place, *words, wanted], check=True)
        (file,) = Path(place).glob("*.whl")
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if said["archive_info"]["hashes"].get("sha256") != digest or not said["url"].endswith(f"/{file.name}"):
        print(f"{file.name}: what came is {digest}, and the index says {said['archive_info']}", file=sys.stderr)
        return False
    if found.setdefault(file.name, digest) != digest:
        print(f"{file.name}: it came with two contents", file=sys.stderr)
        return False
    print(f"{python} {arch}: {file.name}", file=sys.stderr)
    return True


if __name__ == "__main__":
    sys.exit(main())
