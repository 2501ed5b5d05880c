"""What a host prints: limited in bytes and by a deadline, and decoded to text without ever failing."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable

from . import outcome, output_memory
from .failure import Failure, clean
from .limits import MIB, Deadline

_GZIP = b"\x1f\x8b"
_LONGEST_FRAME = 4 << 10
_MOST_FOREIGN, _MOST_ODD = 2 * MIB, MIB // 16
_TO_ASCII = bytes(sign if sign < 128 else ord("?") for sign in range(256))


class Capture:
    """The bytes of one stream of one host, gzip'ed or not; memory is bounded by `limit_bytes`, and by `place`.

    A gzip'ed stream is unpacked as it comes, and its limit counts what it unpacks to, so that a bomb stops there.
    For the message of a stream that does not end: `starter` says what is to start the collector there, `hide` takes
    secrets out of what is quoted, `waited_s` says for how long the program that brings it got no CPU here.
    """

    def __init__(
        self, limit_bytes: int, deadline: Deadline | None = None, place: output_memory.Place | None = None
    ) -> None:
        self.limit = limit_bytes
        self.place = place
        self.deadline = deadline
        self.size = 0
        self.received = 0
        self.starter = "the login shell"
        self.hide: Callable[[str], str] = str
        self.waited_s: Callable[[], float] = float
        self._begun_at: float | None = None
        self._kept = bytearray()
        self._unpack: zlib._Decompress | None = None
        self._head = b""

    def feed(self, data: bytes) -> None:
        """Add what was read.

        Raises Failure("output") beyond the limit or for a damaged gzip stream, Failure("timeout") past the deadline.
        """
        if self.deadline is not None and self.deadline.passed():
            raise self.late()
        self.received += len(data)
        if self.received > self.limit:
            raise self._too_much()
        if self._unpack is not None:
            self._add(self._unpacked(data))
        elif self.size:
            self._add(data)
        else:
            self._begin(data)

    def _begin(self, data: bytes) -> None:
        head = self._head + data
        if len(head) < len(_GZIP) and _GZIP.startswith(head):
            self._head = head
            return
        self._head = b""
        if head.startswith(_GZIP):
            self._unpack = zlib.decompressobj(31)
            head = self._unpacked(head)
        self._add(head)

    def _unpacked(self, data: bytes) -> bytes:
        assert self._unpack is not None
        if self._unpack.eof:
            # What a login script prints behind the stream is not part of it.
            return b""
        try:
            return self._unpack.decompress(data, self.limit - self.size + 1)
        except zlib.error:
            raise Failure("output", "the output is not a gzip stream after its first bytes; collect it again") from None

    def _add(self, data: bytes) -> None:
        self.size += len(data)
        if self.size > self.limit:
            raise self._too_much()
        if self.place is None:
            self._kept += data
        else:
            self.place.keep(self._kept, data)
        if self._begun_at is None and self.size - len(data) < outcome.HEAD and outcome.begun(self._kept):
            self._begun_at = time.monotonic()

    def _too_much(self) -> Failure:
        self._kept.clear()
        cap = f"{self.limit / MIB:g} MiB" if self.limit >= MIB else f"{self.limit} bytes"
        return Failure("output", f"the host sent more than {cap}, which no snapshot is; look at what its login prints")

    def late(self) -> Failure:
        """Return the failure of a stream that did not end in time: the login was slow, or the collector hung."""
        deadline = self.deadline or Deadline(0.0, 0.0)
        within = f"within {deadline.seconds:.1f} s"
        if self._begun_at is None:
            came = "what came is not the collector's" if self.received else "nothing came"
            what = (
                f"{self.starter} did not start the collector {within} ({came});"
                " look what its start-up files wait for, with `ssh HOST true`"
            )
        else:
            # Of a line that has not come whole, a piece of a secret at its end would not be hidden.
            begin = self._kept.rfind(b"\n@", 0, self._kept.rfind(b"\n")) + 1
            frame = self._kept[begin : begin + _LONGEST_FRAME].partition(b"\n")[0]
            what = (
                f"the collector began after {self._begun_at - deadline.started:.1f} s and hung at or after"
                f" {clean(self.hide(frame.decode('utf-8', 'replace')), 60)}, not done {within};"
                " look whether the host is overloaded or a file system of it hangs"
            )
        return Failure("timeout", what, late=True, waited_s=self.waited_s())

    @property
    def whole(self) -> bool:
        """Whether a gzip'ed stream has reached its end; True for one that is not gzip'ed."""
        return self._unpack is None or self._unpack.eof

    def data(self) -> bytes:
        """Return the bytes so far, unpacked."""
        return bytes(self._kept) or self._head

    def text(self) -> str:
        r"""Return the text so far; a byte that is not UTF-8 is shown as \xNN. Never fails to decode.

        Of an output that is larger than any host's with words of people in it, or mostly no text at all, what is not
        ASCII becomes `?`: Python's text would take 4 to 16 times its bytes. Raises Failure("output") where the place
        was lost.
        """
        if self.place is not None:
            self.place.settle(output_memory.TEXT * self.size, self.deadline)
        kept = self._kept or bytearray(self._head)
        if kept.isascii():
            return kept.decode("ascii")
        if len(kept) <= _MOST_FOREIGN:
            try:
                return kept.decode()
            except UnicodeDecodeError:
                odd = len(kept) - len(kept.decode("utf-8", "ignore").encode())
                if odd <= _MOST_ODD:
                    return kept.decode("utf-8", "backslashreplace")
        return kept.translate(_TO_ASCII).decode("ascii")
