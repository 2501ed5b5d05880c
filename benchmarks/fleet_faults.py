"""A thousand hosts of which half go wrong, 5 % in each of ten ways: what `numatune audit` makes of each, and how long.

    benchmarks/fleet_faults.py [--hosts 1000] [--share 5] [--forks 50] [--timeout 20] [--transport paramiko|openssh]

Printed: for each way the classes that came of it, beside the right one; the time of the whole run beside its bound,
1.1 × the limit of one host × ceil(hosts / forks); and the run's memory. The exit code is 1 where a host is classed
wrongly or the bound is missed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.fleet.faults import EXPECTED, GOOD, Faults  # noqa: E402  # it needs the line above


def main() -> int:
    """Run the audit and print what came of it."""
    # `timeout` ends with SIGTERM: the servers and folders go then as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--share", type=float, default=5, help="percent of the hosts that go wrong in each way")
    parser.add_argument("--forks", type=int, default=50)
    parser.add_argument("--timeout", type=int, default=20, help="seconds for one host")
    parser.add_argument("--transport", default="paramiko")
    args = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    each = round(args.hosts * args.share / 100)
    with tempfile.TemporaryDirectory(prefix="numatune-faults-") as name, Faults(Path(name) / "servers") as faults:
        hosts = faults.hosts(args.hosts, {kind: each for kind in EXPECTED if kind != GOOD})
        inventory = faults.inventory(hosts)
        meter = Path(name) / "meter.json"
        command = [
            sys.executable, str(ROOT / "benchmarks/fleet_meter.py"), str(meter), "0.5",
            sys.executable, "-m", "numatune", "audit", "-i", str(inventory), "--format", "json",
            "--forks", str(args.forks), "--timeout", str(args.timeout), "--transport", args.transport,
            "--store", str(Path(name) / "store.sqlite"),
        ]  # fmt: skip
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "SSH_AUTH"))}
        environment = {**kept, "HOME": str(faults.good.home), "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=name, check=True)
        used = json.loads(meter.read_text())
    try:
        report = json.loads(done.stdout)
    except ValueError:
        print("no report:", done.stderr[-2000:])
        return 1
    found = {host["name"]: host for host in report["hosts"]}
    came: dict[str, Counter[str]] = {kind: Counter() for kind in EXPECTED}
    words: dict[str, str] = {}
    for host in hosts:
        entry = found.get(host.alias)
        error = entry and entry["error"]
        phase = "missing" if entry is None else error["phase"] if error else ""
        came[host.kind][phase] += 1
        if error:
            words.setdefault(f"{host.kind} {phase}", error["message"])
    right = True
    print(f"{len(hosts)} hosts, {each} of each kind, {args.forks} at once, {args.timeout} s for one, {args.transport}")
    for kind, phases in came.items():
        fits = set(phases) <= set(EXPECTED[kind])
        right = right and fits
        said = ", ".join(f"{phase or 'judged'} {count}" for phase, count in phases.most_common())
        print(f"  {kind:15} {said:30} {'' if fits else f'WRONG, wanted {EXPECTED[kind]}'}")
        for phase in phases:
            if phase and f"{kind} {phase}" in words:
                print(f"      {phase}: {words[f'{kind} {phase}']}")
    bound = 1.1 * args.timeout * math.ceil(len(hosts) / args.forks)
    print(
        f"took {used['wall_s']:.0f} s of at most {bound:.0f}; exit code {used['code']}; {used['cpu_s']:.0f} s of CPU; "
        f"peak memory {used['peak_mb'] or used['largest_rss_mb']:.0f} MB; summary {report['summary']}"
    )
    return 0 if right and used["wall_s"] <= bound else 1


if __name__ == "__main__":
    sys.exit(main())
