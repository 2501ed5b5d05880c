"""The kernel's messages of one run, from /dev/kmsg."""

from __future__ import annotations

import os
from typing import Any, Optional

from .sources import why_not

MOST_LINES, MOST_CHARACTERS = 20, 200
_MOST_RECORDS = 5000
_RECORD_BYTES = 8192  # the kernel gives one record a read, and none is longer


class KernelLog:
    """Open it at the start of a run; `lines` gives what was logged since."""

    def __init__(self, path: str = "/dev/kmsg") -> None:
        self.unavailable: Optional[str] = None
        self._file = -1
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.lseek(self._file, 0, os.SEEK_END)
            self._drain()  # where the kernel refuses, it does so here at the latest
        except OSError as error:
            self.close()
            self.unavailable = why_not(path, error)

    def lines(self) -> dict[str, Any]:
        """{"lines": at most 20, "left_out": how many more, "unavailable": why none can be read, or null}.

        Lines of a firewall's log are left out: they name the host's peers, and the result may be passed on.
        """
        found: list[str] = []
        if self._file >= 0:
            try:
                found = self._drain()
            except OSError as error:
                self.unavailable = why_not("/dev/kmsg", error)
        shown = [line for line in found if not (" SRC=" in line and " DST=" in line)][:MOST_LINES]
        return {"lines": shown, "left_out": len(found) - len(shown), "unavailable": self.unavailable}

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _drain(self) -> list[str]:
        found: list[str] = []
        for _ in range(_MOST_RECORDS):
            try:
                record = os.read(self._file, _RECORD_BYTES)
            except BlockingIOError:
                break  # nothing more was logged
            except BrokenPipeError:
                continue  # records were overwritten before they were read: go on with what is left
            if not record:
                break
            found.append(parse_record(record))
        return found


def parse_record(record: bytes) -> str:
    """The message of one record, "level,number,microseconds,flags;text", in one line without control characters.

    The kernel writes bytes that do not print as \\xNN; what follows the first line are its fields for a program.
    """
    _head, _semicolon, rest = record.decode("utf-8", "backslashreplace").partition(";")
    line = rest.split("\n", 1)[0]
    return "".join(sign if sign.isprintable() else "?" for sign in line)[:MOST_CHARACTERS]
