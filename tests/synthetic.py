"""Made-up hosts of any size: what the kernel and the configuration of one would show, as a mapping of path to text.

`host()` gives the texts, `Tree` reads them in memory for `numatune.core.collecting.replay`, `write()` lays them out on
disk. CPUs are numbered as x86 servers number them: thread 0 of every core first, node by node, then thread 1 of every
core.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

CPU = "sys/devices/system/cpu"
NODE = "sys/devices/system/node"
_IDLE = (("POLL", 0, 0), ("C1", 2, 2), ("C1E", 10, 20), ("C6", 133, 600))


class Link(str):
    """The text of a symbolic link, where a plain `str` would be a file's content."""

    __slots__ = ()


def host(
    cpus: int = 128,
    nodes: int = 2,
    threads: int = 2,
    *,
    governor: str = "performance",
    driver: str = "acpi-cpufreq",
    numa_balancing: str | None = "0",
    idle_disabled: Iterable[str] = (),
    arguments: str = "",
    irqs: int | None = None,
    irq_cpus: str | None = None,
    sysctl: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return a host's files, path (without the leading "/") to text.

    `idle_disabled` names the idle states that are switched off, `arguments` go to the running and the next command
    line, `irqs` are spread over `irq_cpus` (every CPU by default), `sysctl` maps file names in /etc/sysctl.d to texts.
    """
    if cpus % (nodes * threads):
        raise ValueError(f"{cpus} CPUs do not fit {nodes} nodes of cores with {threads} threads")
    everything = f"0-{cpus - 1}"
    command = f"BOOT_IMAGE=/boot/vmlinuz-6.1.0-synthetic root=UUID=0 ro {arguments}".rstrip()
    files = {
        "proc/cmdline": command,
        "proc/version": "Linux version 6.1.0-synthetic (builder@synthetic) #1 SMP",
        "proc/sys/kernel/osrelease": "6.1.0-synthetic",
        "proc/sys/kernel/random/boot_id": "00000000-0000-4000-8000-000000000000",
        "proc/cpuinfo": "".join(_cpuinfo(cpu) for cpu in range(cpus)).rstrip("\n"),
        f"{CPU}/online": everything,
        f"{CPU}/possible": everything,
        f"{CPU}/present": everything,
        f"{CPU}/isolated": "",
        f"{CPU}/nohz_full": "(null)",
        f"{CPU}/smt/active": str(int(threads > 1)),
        f"{CPU}/smt/control": "on" if threads > 1 else "notsupported",
        f"{CPU}/cpuidle/current_driver": "intel_idle",
        f"{NODE}/online": f"0-{nodes - 1}" if nodes > 1 else "0",
        f"{NODE}/has_memory": f"0-{nodes - 1}" if nodes > 1 else "0",
        "boot/grub/grub.cfg": _grub(command),
        "boot/config-6.1.0-synthetic": "CONFIG_NUMA_BALANCING=y\nCONFIG_NUMA_BALANCING_DEFAULT_ENABLED=y",
        "etc/default/grub": f'GRUB_DEFAULT=0\nGRUB_CMDLINE_LINUX="{arguments}"',
    }
    for unit in ("systemd-sysctl.service", "systemd-tmpfiles-setup.service"):
        files[f"usr/lib/systemd/system/{unit}"] = "[Unit]\nDescription=Synthetic"
        files[f"usr/lib/systemd/system/sysinit.target.wants/{unit}"] = Link(f"../{unit}")
    if numa_balancing is not None:
        files["proc/sys/kernel/numa_balancing"] = numa_balancing
    for name, text in ({"99-latency.conf": "kernel.numa_balancing = 0"} if sysctl is None else sysctl).items():
        files[f"etc/sysctl.d/{name}"] = text
    off = frozenset(idle_disabled)
    cores = cpus // threads
    for cpu in range(cpus):
        files.update(_cpu(cpu, cores, threads, cores // nodes, governor, driver, off))
    for node in range(nodes):
        files.update(_node(node, nodes, cores, threads))
    files.update(_irqs(cpus * 2 if irqs is None else irqs, irq_cpus, cpus))
    return {path: text if isinstance(text, Link) else text + "\n" for path, text in files.items()}


def _cpuinfo(cpu: int) -> str:
    return f"processor\t: {cpu}\nvendor_id\t: GenuineIntel\nmodel name\t: Synthetic CPU\nflags\t\t: fpu sse2 lm\n\n"


def _grub(command: str) -> str:
    return f"set default=\"0\"\nmenuentry 'Synthetic' {{\n\tlinux {command.removeprefix('BOOT_IMAGE=')}\n}}"


def _cpu(
    cpu: int, cores: int, threads: int, per_node: int, governor: str, driver: str, idle_off: frozenset[str]
) -> dict[str, str]:
    core = cpu % cores
    node = core // per_node
    base = f"{CPU}/cpu{cpu}"
    files = {
        f"{base}/topology/thread_siblings_list": ",".join(str(core + cores * thread) for thread in range(threads)),
        f"{base}/topology/core_id": str(core % per_node),
        f"{base}/topology/physical_package_id": str(node),
        f"{base}/power/pm_qos_resume_latency_us": "0",
        f"{base}/cpufreq/scaling_driver": driver,
        f"{base}/cpufreq/scaling_governor": governor,
        f"{base}/cpufreq/scaling_available_governors": "performance schedutil powersave",
        f"{base}/node{node}": Link(f"../../node/node{node}"),
    }
    if cpu:
        files[f"{base}/online"] = "1"
    if driver == "intel_pstate":
        files[f"{base}/cpufreq/energy_performance_preference"] = "performance"
    for number, (name, latency, residency) in enumerate(_IDLE):
        state = f"{base}/cpuidle/state{number}"
        files[f"{state}/name"] = files[f"{state}/desc"] = name
        files[f"{state}/latency"] = str(latency)
        files[f"{state}/residency"] = str(residency)
        files[f"{state}/disable"] = str(int(name in idle_off))
    return files


def _node(node: int, nodes: int, cores: int, threads: int) -> dict[str, str]:
    per_node = cores // nodes
    first = node * per_node
    ranges = [_range(first + cores * thread, per_node) for thread in range(threads)]
    base = f"{NODE}/node{node}"
    return {
        f"{base}/cpulist": ",".join(ranges),
        f"{base}/meminfo": f"Node {node} MemTotal:       65536000 kB\nNode {node} MemFree:        60000000 kB",
        f"{base}/distance": " ".join("10" if other == node else "21" for other in range(nodes)),
    }


def _range(first: int, count: int) -> str:
    return str(first) if count == 1 else f"{first}-{first + count - 1}"


def _irqs(count: int, cpus_list: str | None, cpus: int) -> dict[str, str]:
    files = {"proc/irq/default_smp_affinity": _mask(cpus)}
    table = [" " * 11 + "CPU0"]
    for number in range(24, 24 + count):
        name = f"eth0-TxRx-{number - 24}"
        files[f"proc/irq/{number}/smp_affinity_list"] = cpus_list or str(number % cpus)
        files[f"proc/irq/{number}/effective_affinity_list"] = (cpus_list or str(number % cpus)).partition("-")[0]
        files[f"sys/kernel/irq/{number}/actions"] = name
        table.append(f"{number:4}:          0  PCI-MSI {number}-edge      {name}")
    files["proc/interrupts"] = "\n".join(table)
    return files


def _mask(cpus: int) -> str:
    """Return the kernel's mask of CPUs 0 to cpus-1: groups of 32 bits, the highest first."""
    groups = []
    value = (1 << cpus) - 1
    for _ in range((cpus + 31) // 32):
        groups.append(f"{value & 0xFFFFFFFF:08x}")
        value >>= 32
    return ",".join(reversed(groups))


class Tree:
    """A host's files as a filesystem in memory: the protocol of `numatune.core.collecting.replay.Filesystem`."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = files
        self._names: dict[str, set[str]] = {"": set()}
        for path in files:
            while path:
                parent, _, name = path.rpartition("/")
                known = self._names.setdefault(parent, set())
                if name in known:
                    break
                known.add(name)
                path = parent

    def kind(self, path: str) -> str:
        """Return "file", "dir", "link" or "absent"."""
        text = self._files.get(path)
        if text is None:
            return "dir" if path in self._names else "absent"
        return "link" if isinstance(text, Link) else "file"

    def readlink(self, path: str) -> str:
        """Return where a link points."""
        return str(self._files[path])

    def listdir(self, path: str) -> list[str]:
        """Return the names in a directory."""
        return list(self._names[path])

    def read(self, path: str) -> bytes:
        """Return a file's bytes."""
        return self._files[path].encode()


def write(files: Mapping[str, str], root: Path) -> None:
    """Lay a host's files out under a folder."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(text, Link):
            path.symlink_to(text)
        else:
            path.write_text(text, "utf-8")
