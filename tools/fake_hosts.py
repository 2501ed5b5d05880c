"""Lay out the fake hosts of the molecule scenarios: `fake_hosts.py FOLDER NAME...` makes FOLDER/NAME for each."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import synthetic

_DEBIAN = {
    "etc/os-release": "ID=debian\nVERSION_ID=12\n",
    "etc/sysctl.conf": "#kernel.sysrq=438\n",
    "etc/sysctl.d/99-sysctl.conf": synthetic.Link("../sysctl.conf"),
    "usr/lib/sysctl.d/50-default.conf": "kernel.sysrq = 0x01b6\n",
}


def stock() -> dict[str, str]:
    """Return a stock Debian host: 8 CPUs on 2 nodes, interrupts anywhere."""
    return synthetic.host(8, 2, threads=1, numa_balancing="1", sysctl={}, governor="schedutil", irqs=4) | _DEBIAN


def smt() -> dict[str, str]:
    """Return one with two threads a core, a driver that has an energy preference, and irqbalance."""
    files = synthetic.host(
        8, 2, numa_balancing="1", sysctl={}, driver="intel_pstate", governor="powersave", irqs=2, irq_cpus="3"
    )
    preference = "energy_performance_preference"
    files |= {path: "balance_performance\n" for path in files if path.endswith(preference)}
    daemon = {
        "etc/default/irqbalance": "# Options of irqbalance\n#IRQBALANCE_ONESHOT=\n",
        "etc/systemd/system/multi-user.target.wants/irqbalance.service": synthetic.Link(
            "/lib/systemd/system/irqbalance.service"
        ),
    }
    return files | daemon | _DEBIAN


def foreign() -> dict[str, str]:
    """Return a stock host on which somebody's later file turns NUMA balancing on again: to be refused."""
    return stock() | {"etc/sysctl.d/99-zzz-site.conf": "vm.swappiness = 10\nkernel.numa_balancing = 1\n"}


KINDS = {"stock": stock, "smt": smt, "foreign": foreign}


def main() -> int:
    """Make each host's tree; what stands there already is an error."""
    folder, *names = sys.argv[1:]
    if not names or not set(names) <= set(KINDS):
        print(f"fake_hosts: usage: fake_hosts.py FOLDER {'|'.join(KINDS)}...", file=sys.stderr)
        return 2
    for name in names:
        root = Path(folder) / name
        root.mkdir(parents=True)
        synthetic.write(KINDS[name](), root)
        (root / "var/lib").mkdir(parents=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
