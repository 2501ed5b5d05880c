"""One software event of perf_event_open, by ctypes: how often threads of this process moved to another CPU."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

from .. import counted
from .sources import Read, Source

(MIGRATIONS,) = counted.of(counted.MIGRATIONS)
DEAR_NS, DEAR_STRIDE = 10_000, 16
"""Where reading the migrations takes longer than this, they are read every sixteenth iteration only.

The kernel interrupts each CPU on which a counted thread runs to read its event. On bare metal that is 2 to 4 us; in a
virtual machine it was measured at 25 us, half of the whole budget, and it disturbs the very CPUs under test.
"""

# From the kernel's own headers: asm/unistd.h and linux/perf_event.h.
_SYSCALL_NUMBERS = {"x86_64": 298, "aarch64": 241, "riscv64": 241, "ppc64le": 319, "s390x": 331}
_TYPE_SOFTWARE = 1
_COUNT_SW_CPU_MIGRATIONS = 4
_FLAG_INHERIT = 1 << 1
_FLAG_FD_CLOEXEC = 1 << 3
_ATTRIBUTE_BYTES = 64  # PERF_ATTR_SIZE_VER0, which every kernel since 2.6.31 takes


def open_migrations() -> tuple[int, str]:
    """(file descriptor, "") of a counter for this thread and those it starts from now on, or (-1, why not).

    `inherit` misses threads that exist already, so this comes before the engine's session. The event happens inside
    the kernel: a counter that excludes the kernel, which is all that `perf_event_paranoid` 2 gives a plain user,
    would read 0 for ever, so it is not taken as a fallback.
    """
    number = _SYSCALL_NUMBERS.get(platform.machine())
    if number is None:
        return -1, f"no perf_event_open known for {platform.machine()}"
    attribute = ctypes.create_string_buffer(_ATTRIBUTE_BYTES)
    words = (ctypes.c_uint32 * 2).from_buffer(attribute)
    words[0], words[1] = _TYPE_SOFTWARE, _ATTRIBUTE_BYTES
    longs = (ctypes.c_uint64 * (_ATTRIBUTE_BYTES // 8)).from_buffer(attribute)
    longs[1] = _COUNT_SW_CPU_MIGRATIONS  # config
    longs[5] = _FLAG_INHERIT  # the word of flags, after sample_period, sample_type and read_format
    library = ctypes.CDLL(None, use_errno=True)
    library.syscall.restype = ctypes.c_long
    descriptor = library.syscall(
        ctypes.c_long(number),
        attribute,
        ctypes.c_int(0),  # this thread
        ctypes.c_int(-1),  # on any CPU
        ctypes.c_int(-1),  # no group
        ctypes.c_ulong(_FLAG_FD_CLOEXEC),
    )
    if descriptor < 0:
        error = ctypes.get_errno()
        if error in (errno.EPERM, errno.EACCES) and os.geteuid() != 0:
            return -1, "perf_event_open: needs root, or kernel.perf_event_paranoid of at most 1"
        return -1, f"perf_event_open: {os.strerror(error)} (see kernel.perf_event_paranoid)"
    return int(descriptor), ""


class Migrations(Source):
    """The moves of this process's threads to another CPU, summed; `why` says why not where it cannot be opened."""

    def __init__(self) -> None:
        super().__init__()
        self._event, self.why = open_migrations()
        self.names = (MIGRATIONS,) if self._event >= 0 else ()
        self._kept = bytearray()

    def stride(self, cost_ns: int) -> int:
        return DEAR_STRIDE if cost_ns > DEAR_NS else 1

    def bytes_each(self) -> int:
        return 8

    def room(self, readings: int) -> None:
        self._kept = bytearray(8 * readings)

    def reader(self) -> Read:
        readv, event, view = os.readv, self._event, memoryview(self._kept)

        def read(index: int) -> None:
            place = 8 * index
            readv(event, (view[place : place + 8],))

        return read

    def totals(self, count: int) -> list[dict[str, int]]:
        return [{MIGRATIONS: value} for value in struct.unpack(f"={count}q", self._kept[: 8 * count])]

    def close(self) -> None:
        if self._event >= 0:
            os.close(self._event)
            self._event = -1
