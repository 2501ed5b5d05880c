"""One software event of perf_event_open, by ctypes: how often threads of this process moved to another CPU."""

from __future__ import annotations

import ctypes
import os
import platform

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
        return -1, f"perf_event_open: {os.strerror(error)} (see kernel.perf_event_paranoid)"
    return int(descriptor), ""
