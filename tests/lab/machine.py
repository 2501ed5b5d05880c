"""What a guest is made of, as text: QEMU's arguments, and the ACPI table that gives it P-states and C-states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TCG, KVM = "tcg", "kvm"

# A write to the port of power-on codes does nothing, so every frequency is fake; and each idle state is a HLT. The
# kernel names the states by their places. Right for what reads and writes settings, meaningless for speed.
_CPU = """    External (\\_SB.CPUS.{name}, DeviceObj)
    Scope (\\_SB.CPUS.{name})
    {{
        Name (_PCT, Package (2) {{
            ResourceTemplate () {{ Register (SystemIO, 8, 0, 0x80) }},
            ResourceTemplate () {{ Register (SystemIO, 8, 0, 0x80) }} }})
        Name (_PSS, Package (3) {{
            Package (6) {{ 3000, 90000, 10, 10, 3, 3 }},
            Package (6) {{ 2000, 60000, 10, 10, 2, 2 }},
            Package (6) {{ 1000, 30000, 10, 10, 1, 1 }} }})
        Name (_PSD, Package (1) {{ Package (5) {{ 5, 0, {number}, 0xFD, 1 }} }})
        Method (_PPC, 0) {{ Return (0) }}
        Name (_CST, Package (4) {{ 3,
            Package (4) {{ ResourceTemplate () {{ Register (FFixedHW, 0, 0, 0) }}, 1, 1, 1000 }},
            Package (4) {{ ResourceTemplate () {{ Register (FFixedHW, 0, 0, 0) }}, 1, 100, 500 }},
            Package (4) {{ ResourceTemplate () {{ Register (FFixedHW, 0, 0, 0) }}, 1, 400, 200 }} }})
    }}
"""


@dataclass(frozen=True)
class Machine:
    """CPUs in equal parts over the nodes, one socket a node; memory in MiB, likewise.

    `parallel` emulates each CPU by a thread of its own, for what measures. Kernels that patch themselves at boot
    were seen to crash then, and a boot is no faster for it.
    """

    cpus: int = 4
    nodes: int = 2
    memory: int = 768
    parallel: bool = False

    def __post_init__(self) -> None:
        if self.nodes < 1 or self.cpus % self.nodes or self.memory % self.nodes:
            raise ValueError(f"{self.cpus} CPUs and {self.memory} MiB cannot be shared out to {self.nodes} nodes")


def acpi_table(cpus: int) -> str:
    """The source, for iasl, of a table for that many CPUs; with another number of CPUs the kernel drops it whole."""
    scopes = "".join(_CPU.format(name=f"C{number:03X}", number=number) for number in range(cpus))
    return f'DefinitionBlock ("", "SSDT", 2, "NUMTUN", "LABPST", 1)\n{{\n{scopes}}}\n'


def qemu_command(machine: Machine, accelerator: str, folder: Path, table: Path, port: int) -> Sequence[str]:
    """Start the guest in `folder` in the background; it listens for ssh on 127.0.0.1:port and reaches no network."""
    if accelerator == TCG:
        accelerator = f"{TCG},thread={'multi' if machine.parallel else 'single'},tb-size=128"
    each, share = machine.cpus // machine.nodes, machine.memory // machine.nodes
    nodes: list[str] = []
    for node in range(machine.nodes):
        first = node * each
        nodes += ["-object", f"memory-backend-ram,id=m{node},size={share}M"]
        nodes += ["-numa", f"node,nodeid={node},cpus={first}-{first + each - 1},memdev=m{node}"]
    for near in range(machine.nodes):
        for far in range(machine.nodes):
            if near != far:
                nodes += ["-numa", f"dist,src={near},dst={far},val=21"]
    return [
        "qemu-system-x86_64",
        *("-name", f"numatune-{folder.name}", "-machine", "q35", "-accel", accelerator),
        # A model that acpi-cpufreq takes by itself.
        *("-cpu", "max,vendor=GenuineIntel,family=6,model=85,stepping=4"),
        *("-smp", f"{machine.cpus},sockets={machine.nodes},cores={each},threads=1", "-m", f"{machine.memory}M"),
        *nodes,
        *("-acpitable", f"file={table}"),
        # What the guest flushed is in this machine's page cache, which outlives QEMU: a killed guest loses what it had
        # not flushed, as with a power cut, and this machine's disk need not be waited for.
        *("-drive", f"file={folder}/disk.qcow2,if=none,id=disk,format=qcow2,cache=unsafe,discard=unmap"),
        *("-device", f"virtio-blk-pci,drive=disk,num-queues={machine.cpus}"),
        *("-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"),
        *("-device", "virtio-net-pci,netdev=net,romfile="),
        *("-display", "none", "-vga", "none", "-serial", f"file:{folder}/serial.log", "-monitor", "none"),
        *("-pidfile", f"{folder}/pid", "-daemonize"),
    ]
