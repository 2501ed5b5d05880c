"""Authentication: keys, keyboard-interactive with a password, password; a refusal's message says what was tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from paramiko import common
from paramiko.message import Message

from ..endpoint import Endpoint, Secrets
from ..failure import Failure, clean
from .keys import Identity, UnusableKeyError, offered
from .session import Session

_SERVICE = "ssh-connection"
_MSG_60 = 60  # PK_OK, PASSWD_CHANGEREQ or INFO_REQUEST, by the method that is under way
_MSG_61 = bytes([61])
_MOST_ROUNDS = 5
_MOST_BANNERS = 100
_NOTHING = "no key and no password"
_METHODS = ("publickey", "keyboard-interactive", "password")


@dataclass(frozen=True, repr=False)
class _Attempt:
    """One try: its method, and what sends it and waits for the answer."""

    method: str
    send: Callable[[], None]


class Authentication:
    """What fabric hands to paramiko as `auth_strategy`; it is also the session's `auth_handler`.

    Raises Failure("auth") with what was tried and what the server allows, and what `Session.pump` raises.
    """

    def __init__(self, endpoint: Endpoint, secrets: Secrets) -> None:
        self.endpoint = endpoint
        self._secrets = secrets
        self.tried: list[str] = []
        self.notes: list[str] = []
        self.banner = ""
        self._allowed: tuple[str, ...] | None = None
        self._authenticated = False
        self._answer: int | None = None
        self._service = False
        self._banners = 0
        self._rounds = 0
        self._asked: Message | None = None
        self._session: Session

    def __repr__(self) -> str:
        return f"Authentication({self.endpoint.alias!r})"

    # --- what paramiko asks its auth_handler ---

    def is_authenticated(self) -> bool:
        """Return whether the server let us in."""
        return self._authenticated

    def get_username(self) -> str:
        """Return the user who logs in."""
        return self.endpoint.user

    def abort(self) -> None:
        """Nothing waits for this."""

    # --- the course of it ---

    def authenticate(self, transport: Session) -> list[object]:
        """Log in, or raise."""
        self._session = session = transport
        session.begin("auth", session.limits.auth_s)
        session.auth_handler = self
        session.receivers = {
            common.MSG_SERVICE_ACCEPT: self._accepted,
            common.MSG_USERAUTH_SUCCESS: self._success,
            common.MSG_USERAUTH_FAILURE: self._failure,
            common.MSG_USERAUTH_BANNER: self._banner,
            _MSG_60: self._sixty,
        }
        ask = Message()
        ask.add_byte(common.cMSG_SERVICE_REQUEST)
        ask.add_string("ssh-userauth")
        session._send_message(ask)
        # OpenSSH takes the first request behind this one unasked, which saves a round trip.
        if not session.remote_version.startswith("SSH-2.0-OpenSSH_"):
            session.pump(lambda: self._service)
        for attempt in self._attempts():
            attempt.send()
            if self._authenticated:
                session.receivers = {}
                return []
        raise self.refused()

    def _attempts(self) -> Iterator[_Attempt]:
        """Yield what to try next, as far as the server allows it at that moment: partial successes change that."""
        keys = offered(self.endpoint, self._secrets.key_passphrase, self.notes)
        held: list[_Attempt] = []
        if self._secrets.password is not None:
            words = {"keyboard-interactive": self._interactive, "password": self._password}
            held = [_Attempt(method, send) for method, send in words.items()]
        while True:
            identity = next(keys, None) if self._may("publickey") else None
            if identity is not None:
                yield _Attempt("publickey", partial(self._publickey, identity))
                continue
            word = next((attempt for attempt in held if self._may(attempt.method)), None)
            if word is None:
                break
            held.remove(word)
            yield word
        if not self.tried:
            yield _Attempt("none", self._none)

    def _may(self, method: str) -> bool:
        return self._allowed is None or method in self._allowed

    # --- the requests ---

    def _head(self, method: str) -> Message:
        ask = Message()
        ask.add_byte(common.cMSG_USERAUTH_REQUEST)
        ask.add_string(self.endpoint.user)
        ask.add_string(_SERVICE)
        ask.add_string(method)
        return ask

    def _request(self, ask: Message, name: str) -> None:
        if name not in self.tried:
            self.tried.append(name)
        self._answer = None
        self._rounds = 0
        self._session._send_message(ask)
        self._wait()

    def _wait(self) -> None:
        self._asked = None
        self._session.pump(lambda: self._answer is not None)

    def _none(self) -> None:
        self._request(self._head("none"), _NOTHING)

    def _publickey(self, key: Identity) -> None:
        algorithm = self._algorithm(key)
        if algorithm is None:
            self.notes.append(f"{key.name}: the server takes no {key.algorithms[0]} signature")
            return
        if key.asks_first:
            ask = self._head("publickey")
            ask.add_boolean(False)
            ask.add_string(algorithm)
            ask.add_string(key.blob)
            self._request(ask, key.name)
            if self._answer != _MSG_60:
                return
        ask = self._head("publickey")
        ask.add_boolean(True)
        ask.add_string(algorithm)
        ask.add_string(key.blob)
        signed = Message()
        signed.add_string(self._session.session_id or b"")
        seconds = self._session.packetizer.deadline.left() if self._session.packetizer.deadline else 0.0
        try:
            signature = key.sign(signed.asbytes() + ask.asbytes(), algorithm, seconds)
        except UnusableKeyError as error:
            self.notes.append(str(error))
            return
        ask.add_string(signature)
        self._request(ask, key.name)

    def _algorithm(self, key: Identity) -> str | None:
        extensions = getattr(self._session, "server_extensions", {})
        listed = extensions.get("server-sig-algs", b"").decode("ascii", "replace").split(",")
        if listed == [""]:
            return key.algorithms[0]
        return next((name for name in key.algorithms if name in listed), None if len(key.algorithms) > 1 else key.kind)

    def _password(self) -> None:
        ask = self._head("password")
        ask.add_boolean(False)
        ask.add_string(self._secrets.password or "")
        self._request(ask, "password")
        if self._answer == _MSG_60:
            self.notes.append("the password has expired and the server wants a new one: log in by hand once")

    def _interactive(self) -> None:
        ask = self._head("keyboard-interactive")
        ask.add_string("")
        ask.add_string("")
        self._request(ask, "keyboard-interactive")
        while self._answer == _MSG_60 and self._asked is not None:
            self._rounds += 1
            if self._rounds > _MOST_ROUNDS:
                raise Failure("auth", "keyboard-interactive asks on and on; give a key instead")
            self._reply(self._asked)

    def _reply(self, asked: Message) -> None:
        """Answer one hidden prompt with the password, once; anything else gets no answers."""
        asked.get_string(), asked.get_string(), asked.get_string()
        count = asked.get_int()
        answer = Message()
        answer.add_byte(_MSG_61)
        if count == 1:
            prompt = clean(asked.get_string(), 80)
            shown = asked.get_boolean()
            fits = not shown and self._rounds == 1
            if not fits:
                self.notes.append(f"keyboard-interactive asks for more than a password ({prompt!r})")
            answer.add_int(1)
            answer.add_string((self._secrets.password or "") if fits else "")
        else:
            if count:
                self.notes.append(f"keyboard-interactive asks {count} things at once, which no password answers")
            answer.add_int(0)
        self._answer = None
        self._session._send_message(answer)
        self._wait()

    # --- the answers ---

    def _accepted(self, message: Message) -> None:
        self._service = True

    def _success(self, message: Message) -> None:
        if not self.tried:
            return
        self._authenticated = True
        self._answer = common.MSG_USERAUTH_SUCCESS
        self._session._auth_trigger()

    def _failure(self, message: Message) -> None:
        names = message.get_string().decode("utf-8", "replace").split(",")
        self._allowed = tuple(name for name in names[:20] if name)
        self._answer = common.MSG_USERAUTH_FAILURE

    def _sixty(self, message: Message) -> None:
        self._asked = message
        self._answer = _MSG_60

    def _banner(self, message: Message) -> None:
        self._banners += 1
        if self._banners > _MOST_BANNERS:
            raise Failure("auth", "the server sends banners without end instead of an answer")
        self.banner = self.banner or clean(message.get_string(), 160)

    def refused(self, end: str = "") -> Failure:
        """Return the failure that says what was tried, what the server allows, and what to do."""
        tried = ", ".join(self.tried[:8]) + (f" and {len(self.tried) - 8} more" if len(self.tried) > 8 else "")
        allowed = ", ".join(clean(name, 40) for name in self._allowed or ()) or "unknown methods"
        said = f"; {'; '.join(dict.fromkeys(self.notes[:4]))}" if self.notes else ""
        hint = "check the user, and that its authorized_keys or password fits"
        if self._allowed and not set(_METHODS) & set(self._allowed):
            hint = "the server takes neither keys nor passwords: try --transport openssh"
        elif self.tried == [_NOTHING]:
            hint = "name a key (IdentityFile, --private-key), start an agent, or give a password"
        return Failure(
            "auth",
            f"user {self.endpoint.user} was refused{end}: tried {tried or 'nothing'};"
            f" the server allows {allowed}{said}; {hint}",
        )
