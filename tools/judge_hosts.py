"""Judge every captured host and two made-up ones with nothing but the standard library: `judge_hosts.py CHECKOUT`.

It runs under the oldest Python that a target may have (`make python39`), so it is Python 3.9 itself.
With `--import-bench` it imports every module of the recorder as well, which needs numpy and onnxruntime.
"""

from __future__ import annotations

import importlib
import sys
import tarfile
from datetime import date
from pathlib import Path


def main() -> int:
    """Judge them all; exit 1 when one cannot be judged."""
    root = Path(sys.argv[-1]).resolve()
    sys.path[:0] = [str(root), str(root / "tests")]
    if "--import-bench" in sys.argv:
        for path in sorted((root / "numatune/bench").rglob("*.py")):
            if not path.stem.startswith("__"):
                importlib.import_module(".".join(path.relative_to(root).with_suffix("").parts))
        return 0

    import synthetic

    from numatune.core import audit, plan, profile
    from numatune.core.collecting import replay

    wanted = profile.builtin("inference-latency")
    today = date(2026, 1, 1)
    trees: dict[str, dict[str, str]] = {
        path.name: files_of(path) for path in sorted((root / "tests/hosts").glob("*.gz"))
    }
    trees["synthetic-128"] = synthetic.host(128, 2)
    trees["synthetic-512"] = synthetic.host(512, 8)
    for name, files in trees.items():
        snapshot = replay.collect(synthetic.Tree(files), complete=name.startswith("synthetic"))
        report = audit.judge(snapshot, wanted, today)
        changes = plan.make_plan(snapshot, wanted, today)
        statuses = " ".join(f"{finding.setting}={finding.status.value}" for finding in report.findings)
        print(f"{name}: {report.status}: {statuses}: {len(changes.changes)} changes")
    print(f"{len(trees)} hosts judged with Python {sys.version.split()[0]}")
    return 0


def files_of(path: Path) -> dict[str, str]:
    """Return an archive's files and links, path to text."""
    import synthetic

    files = {}
    with tarfile.open(path) as archive:
        for member in archive:
            name = member.name[2:] if member.name.startswith("./") else member.name
            if member.issym():
                files[name] = synthetic.Link(member.linkname)
            elif member.isfile():
                stream = archive.extractfile(member)
                files[name] = stream.read().decode("utf-8", "backslashreplace") if stream else ""
    return files


if __name__ == "__main__":
    sys.exit(main())
