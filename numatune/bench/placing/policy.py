"""The memory policy of the calling thread, by system call: no binding for it on the package index is kept up.

A policy is a thread's own, and threads that it starts later inherit it: set it before the workload's threads exist.
The kernel's NUMA balancing skips memory under any explicit policy (it asks for MPOL_F_MOF, which only the default
and MPOL_F_NUMA_BALANCING have), so a run under one hides that jitter. Numbers and modes: asm/unistd.h and
linux/mempolicy.h of the kernel.
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Optional

from ..cpus import format_cpu_list, parse_cpu_list
from ..errors import BenchError
from ..host import read_text

CHOICES = ("default", "local", "bind", "interleave")
"""What `--memory` takes. `default` sets nothing, so a policy that the process was started under stays, and is seen."""

NO_POLICY = "none"
"""How a result calls memory without an explicit policy."""

# (set_mempolicy, get_mempolicy)
_SYSCALL_NUMBERS = {"x86_64": (238, 239), "aarch64": (237, 236)}
_DEFAULT, _PREFERRED, _BIND, _INTERLEAVE, _LOCAL = range(5)
_NAMES = {
    _DEFAULT: NO_POLICY,
    _PREFERRED: "preferred",
    _BIND: "bind",
    _INTERLEAVE: "interleave",
    _LOCAL: "local",
    5: "preferred-many",
    6: "weighted-interleave",
}
_FLAG_NUMA_BALANCING = 1 << 13
_FLAGS = 0b111 << 13
_MOST_NODES = 1024  # the largest that any architecture's kernel may be built for
_WORD = 8 * ctypes.sizeof(ctypes.c_ulong)


@dataclass(frozen=True)
class Policy:
    """A policy as the kernel gives it back: its mode with the flags, and the nodes that it names."""

    mode: int
    nodes: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """Such as "none", "local" or "bind:0-1"; two runs may be compared where it is the same."""
        mode = self.mode & ~_FLAGS
        if mode == _PREFERRED and not self.nodes:
            mode = _LOCAL  # how kernels before 5.14 keep it
        balanced = "+balancing" if self.mode & _FLAG_NUMA_BALANCING else ""
        nodes = f":{format_cpu_list(self.nodes)}" if self.nodes else ""
        return f"{_NAMES.get(mode, f'mode {mode}')}{balanced}{nodes}"

    @property
    def hides_balancing(self) -> bool:
        """Whether the kernel's NUMA balancing skips memory under it."""
        return self.mode & ~_FLAGS != _DEFAULT and not self.mode & _FLAG_NUMA_BALANCING


def wanted(choice: str, node: int) -> Optional[Policy]:
    """The policy that `choice` asks for, `node` being that of the first touch; None where nothing is to be set."""
    if choice == "default":
        return None
    if choice == "local":
        return Policy(_LOCAL)
    if choice == "bind":
        return Policy(_BIND, (node,))
    return Policy(_INTERLEAVE, memory_nodes())


def memory_nodes() -> tuple[int, ...]:
    """The nodes that have memory; node 0 alone on a kernel that does not say."""
    text = read_text("/sys/devices/system/node/has_memory")
    return tuple(parse_cpu_list(text)) if text else (0,)


def current() -> Policy:
    """The calling thread's policy; OSError where the kernel or a filter of system calls refuses to say."""
    mode = ctypes.c_int()
    mask = _mask(())
    _call(1, ctypes.byref(mode), mask, ctypes.c_ulong(_MOST_NODES), None, ctypes.c_ulong(0))
    words = enumerate(mask)
    nodes = tuple(index * _WORD + bit for index, word in words for bit in range(_WORD) if word >> bit & 1)
    return Policy(mode.value, nodes)


def in_force() -> Policy:
    """The calling thread's policy; the default where the kernel does not say, since setting one would have failed."""
    try:
        return current()
    except OSError:
        return Policy(_DEFAULT)


def read_back() -> Optional[str]:
    """The name of the calling thread's policy; None where it cannot be read."""
    try:
        return current().name
    except OSError:
        return None


@contextmanager
def applied(policy: Optional[Policy]) -> Iterator[None]:
    """Run the block, and the threads that it starts, under `policy`; None changes nothing.

    What the kernel refuses is one line. Afterwards the calling thread has the policy that it had.
    """
    if policy is None:
        yield
        return
    try:
        before = current()
        _set(policy)
    except OSError as error:
        # A container's filter answers EPERM, a kernel without NUMA ENOSYS, a node without memory EINVAL.
        raise BenchError(
            f"the kernel refuses the memory policy {policy.name}: {error.strerror}; run without --memory, or outside "
            "the container or filter that forbids set_mempolicy"
        ) from error
    try:
        yield
    finally:
        _set(before)


def _set(policy: Policy) -> None:
    mask = _mask(policy.nodes) if policy.nodes else None
    # The kernel takes one off the number of bits before it uses it.
    _call(0, ctypes.c_int(policy.mode), mask, ctypes.c_ulong(_MOST_NODES + 1 if policy.nodes else 0))


def _mask(nodes: Sequence[int]) -> Any:
    """The kernel's bitmap of nodes, an array of unsigned long."""
    mask = (ctypes.c_ulong * (_MOST_NODES // _WORD + 1))()
    for node in nodes:
        mask[node // _WORD] |= 1 << node % _WORD
    return mask


def _call(which: int, *arguments: Any) -> None:
    numbers = _SYSCALL_NUMBERS.get(platform.machine())
    if numbers is None:
        raise OSError(0, f"no system call for it is known on {platform.machine()}")
    library = ctypes.CDLL(None, use_errno=True)
    library.syscall.restype = ctypes.c_long
    if library.syscall(ctypes.c_long(numbers[which]), *arguments) < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
