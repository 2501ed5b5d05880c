"""One command on one connection: its input sent, its output captured, its status, without a thread."""

from __future__ import annotations

from collections.abc import Callable

import paramiko
from paramiko import common
from paramiko.message import Message

from ..capture import Capture
from ..failure import Failure, clean
from ..limits import MIB
from .session import Session

_CHANNEL = 0
_PACKET = 32 << 10
_ERRORS_KEPT = 8 << 10
_LARGEST_WINDOW = 0x7FFFFFFF
_MOST_REQUESTS = 1000


class Command:
    """A session channel with one exec request.

    `output` takes standard output; `errors` has the first 8 KiB of standard error, for messages. Both count
    against the output's limit. Raises what `Session.pump` raises, and Failure("exec"|"output"|"timeout").
    """

    def __init__(self, session: Session, output: Capture) -> None:
        self.session = session
        self.output = output
        self.errors = bytearray()
        self.status: int | None = None
        self.signal = ""
        self.ended = False
        self.closed = False
        self._error_bytes = 0
        self._requests = 0
        self._window = 0
        self._largest = _PACKET
        self._remote: int | None = None
        self._refused: str | None = None
        self._accepted: bool | None = None
        session.receivers = {
            common.MSG_CHANNEL_OPEN_SUCCESS: self._opened,
            common.MSG_CHANNEL_OPEN_FAILURE: self._not_opened,
            common.MSG_CHANNEL_WINDOW_ADJUST: self._widened,
            common.MSG_CHANNEL_DATA: self._data,
            common.MSG_CHANNEL_EXTENDED_DATA: self._extended,
            common.MSG_CHANNEL_EOF: self._eof,
            common.MSG_CHANNEL_CLOSE: self._close,
            common.MSG_CHANNEL_REQUEST: self._request,
            common.MSG_CHANNEL_SUCCESS: self._success,
            common.MSG_CHANNEL_FAILURE: self._failure,
        }

    # --- asking ---

    def open(self) -> None:
        """Open the channel; its window takes all that may come, so that it is never widened."""
        ask = Message()
        ask.add_byte(common.cMSG_CHANNEL_OPEN)
        ask.add_string("session")
        ask.add_int(_CHANNEL)
        ask.add_int(min(self.output.limit + MIB, _LARGEST_WINDOW))
        ask.add_int(_PACKET)
        self.session._send_message(ask)
        self.session.pump(lambda: self._remote is not None or self._refused is not None)
        if self._refused is not None:
            raise Failure(
                "exec",
                "the server refused to open a session;"
                f" look at MaxSessions and at the account's restrictions in its sshd_config ({self._refused})",
            )

    def execute(self, command: str) -> None:
        """Ask for a command; the answer is waited for where its output is."""
        ask = self._to_channel(common.cMSG_CHANNEL_REQUEST)
        ask.add_string("exec")
        ask.add_boolean(True)
        ask.add_string(command)
        self.session._send_message(ask)

    def send(self, data: bytes) -> None:
        """Send standard input, as far as the other side's window allows at a time; stops when the command ended."""
        view = memoryview(data)
        while view:
            self.session.pump(lambda: self._window > 0 or self.closed)
            if self.closed:
                return
            piece = view[: min(self._window, self._largest)]
            message = self._to_channel(common.cMSG_CHANNEL_DATA)
            message.add_string(bytes(piece))
            self.session._send_message(message)
            self._window -= len(piece)
            view = view[len(piece) :]

    def end_input(self) -> None:
        """Say that no more input comes."""
        if not self.closed:
            self.session._send_message(self._to_channel(common.cMSG_CHANNEL_EOF))

    def until(self, done: Callable[[], bool]) -> None:
        """Read until `done()` or until the command has ended."""
        self.session.pump(lambda: self.over or done())

    def finish(self) -> None:
        """Read until the command has ended."""
        self.session.pump(lambda: self.over)

    @property
    def over(self) -> bool:
        """Whether nothing more can come: closed, or all output and a status have come, or never started."""
        return self.closed or (self.ended and (self.status is not None or bool(self.signal)))

    @property
    def refused(self) -> bool:
        """Whether the server refused to run a command at all."""
        return self._accepted is False

    @property
    def accepted(self) -> bool:
        """Whether the server agreed to run the command."""
        return self._accepted is True

    def error_text(self) -> str:
        """Return the first of what came on standard error, undecodable bytes replaced; neither cleaned nor hidden.

        A line that is cut short is left out: the piece of a secret at its end would be known for none.
        """
        is_cut = self._error_bytes > len(self.errors)
        kept = self.errors[: self.errors.rfind(b"\n") + 1] if is_cut else self.errors
        return kept.decode("utf-8", "replace")

    # --- what comes ---

    def _to_channel(self, kind: bytes) -> Message:
        message = Message()
        message.add_byte(kind)
        message.add_int(self._remote or 0)
        return message

    def _mine(self, message: Message) -> None:
        if message.get_int() != _CHANNEL or (self._remote is None and self._refused is None):
            raise paramiko.SSHException("a message for a channel that is not open")

    def _opened(self, message: Message) -> None:
        if message.get_int() != _CHANNEL or self._remote is not None:
            raise paramiko.SSHException("a channel was opened that nobody asked for")
        self._remote = message.get_int()
        self._window = message.get_int()
        self._largest = max(1, min(message.get_int(), _PACKET))

    def _not_opened(self, message: Message) -> None:
        if message.get_int() != _CHANNEL or self._remote is not None:
            raise paramiko.SSHException("a channel was refused that nobody asked for")
        reason = common.CONNECTION_FAILED_CODE.get(message.get_int(), "no reason known")
        self._refused = clean(message.get_string(), 120) or reason

    def _widened(self, message: Message) -> None:
        self._mine(message)
        self._window = min(self._window + message.get_int(), 0xFFFFFFFF)

    def _data(self, message: Message) -> None:
        self._mine(message)
        self.output.feed(message.get_binary())

    def _extended(self, message: Message) -> None:
        self._mine(message)
        message.get_int()
        data = message.get_binary()
        self._error_bytes += len(data)
        if self._error_bytes > self.output.limit:
            raise Failure("output", "the host does not stop writing to standard error; look at what its login prints")
        self.errors += data[: max(0, _ERRORS_KEPT - len(self.errors))]

    def _eof(self, message: Message) -> None:
        self._mine(message)
        self.ended = True

    def _close(self, message: Message) -> None:
        self._mine(message)
        self.closed = True

    def _request(self, message: Message) -> None:
        self._mine(message)
        self._requests += 1
        if self._requests > _MOST_REQUESTS:
            raise paramiko.SSHException("requests on the channel without end")
        name = message.get_string()
        wants_answer = message.get_boolean()
        if name == b"exit-status":
            self.status = message.get_int()
        elif name == b"exit-signal":
            self.signal = clean(message.get_string(), 20) or "unknown"
        if wants_answer:
            self.session._send_message(self._to_channel(common.cMSG_CHANNEL_FAILURE))

    def _success(self, message: Message) -> None:
        self._mine(message)
        self._accepted = True

    def _failure(self, message: Message) -> None:
        self._mine(message)
        self._accepted = False
        self.closed = True
