"""Which failure an error of a connection is: its phase, what happened, what to do."""

from __future__ import annotations

from collections.abc import Sequence

from paramiko.ssh_exception import IncompatiblePeer

from ..failure import Failure, clean
from .authentication import Authentication
from .packets import FloodError, LateError
from .session import DisconnectedError, ForeignError, Session

_BEFORE_AUTH = ("banner", "kex", "hostkey")


def failure_of(error: BaseException, session: Session | None, login: Authentication | None) -> Failure:
    """Return the Failure for what a connection raised; one that is a Failure already is returned as it is."""
    if isinstance(error, Failure):
        return error
    if session is None:
        return Failure("tcp", f"the connection failed: {clean(error, 120)}")
    if isinstance(error, LateError):
        return _late(session, login)
    if isinstance(error, FloodError):
        return _flood(session)
    if isinstance(error, ForeignError):
        return Failure("banner", f"what answers is not an SSH server: {error}; check the port")
    if isinstance(error, IncompatiblePeer):
        return _incompatible(session, error)
    if isinstance(error, DisconnectedError):
        return _hung_up(session, login, f"the server ended the connection ({error})" if str(error) else "")
    if isinstance(error, (EOFError, OSError)):
        return _hung_up(session, login, "")
    return _broken(session, error)


def _late(session: Session, login: Authentication | None) -> Failure:
    phase = "banner" if session.phase == "banner" and not session.total.passed() else "timeout"
    return Failure(phase, _what_was_late(session, login), late=True)


def _what_was_late(session: Session, login: Authentication | None) -> str:
    seconds = session.packetizer.deadline.seconds if session.packetizer.deadline else 0.0
    if session.total.passed() and session.phase != "exec":
        return f"not done within the {session.total.seconds:.0f} s for a host; it stopped at {_step(session)}"
    within = f"within {seconds:.1f} s"
    if session.phase == "banner":
        return f"no SSH version line came {within}; is the host overloaded, is this sshd's port?"
    if session.phase == "exec":
        return f"no session was opened {within}; is the host overloaded?"
    if session.phase == "become":
        return f"the login shell did not start sudo, or sudo did not answer, {within}; try `ssh HOST sudo -n true`"
    if session.phase == "auth" and login is not None:
        tried = ", ".join(login.tried[:8]) or "nothing"
        return f"authentication did not end {within} (tried {tried}); look at the host's PAM and DNS"
    return f"{_step(session)} did not end {within}; is the host overloaded?"


_STEPS = {
    "banner": "the version line",
    "kex": "the key exchange",
    "hostkey": "the host key",
    "auth": "authentication",
    "become": "sudo",
    "exec": "the session",
    "output": "the output",
}


def _step(session: Session) -> str:
    return _STEPS.get(session.phase, session.phase)


def _flood(session: Session) -> Failure:
    if session.phase == "output":
        return Failure("output", "the host sent more than any snapshot holds; look at what its login prints")
    return Failure(
        session.phase, f"the server sent data without end at {_step(session)}; this is not a server to trust"
    )


def _hung_up(session: Session, login: Authentication | None, said: str) -> Failure:
    phase = session.phase
    what = said or "the server closed the connection"
    if phase == "banner" or (phase in _BEFORE_AUTH and not said):
        return _dropped(session, phase, what)
    if phase == "auth" and login is not None:
        return login.refused(f" ({what})")
    if phase in ("kex", "hostkey"):
        return Failure(phase, f"{what} during the key exchange; try --transport openssh, and read the server's log")
    if phase == "output":
        return Failure("exec", f"{what} before the script had ended; was the host rebooted, or sshd's child killed?")
    return Failure("exec" if phase != "become" else "become", f"{what} at {_step(session)}; read the server's log")


def _dropped(session: Session, phase: str, what: str) -> Failure:
    greeting = session.greeting[-1] if session.greeting else ""
    if "not allowed at this time" in greeting.lower():
        return Failure(phase, "the server refuses this address for a while (PerSourcePenalties): wait, then try again")
    if greeting and "maxstartups" not in greeting.lower():
        return Failure(
            phase, f"what answers is not an SSH server, or refuses this address: it said {greeting!r}; check the port"
        )
    said = " (it is at its MaxStartups limit)" if greeting else ""
    return Failure(
        phase,
        f"{what} before authentication{said}; fewer forks, or a higher MaxStartups there, help an overloaded one",
        retry=True,
    )


def _incompatible(session: Session, error: IncompatiblePeer) -> Failure:
    sides: Sequence[tuple[str, str, Sequence[str]]] = (
        ("key exchange", "kex_algo_list", session.preferred_kex),
        ("host key types", "server_key_algo_list", session.preferred_keys),
        ("ciphers", "server_encrypt_algo_list", session.preferred_ciphers),
        ("MACs", "server_mac_algo_list", session.preferred_macs),
        ("compression", "server_compress_algo_list", session.preferred_compression),
    )
    for name, key, ours in sides:
        theirs = session.peer_lists.get(key, [])
        if theirs and not set(theirs) & set(ours):
            offers = clean(", ".join(theirs[:6]), 160)
            return Failure(
                "kex", f"incompatible peer: no {name} in common, it offers {offers}; try --transport openssh"
            )
    return Failure("kex", f"incompatible peer: {clean(error, 160)}; try --transport openssh")


def _broken(session: Session, error: BaseException) -> Failure:
    """Whatever else a peer's packets can cause, in paramiko or here."""
    said = clean(error, 120) or type(error).__name__
    phase = "exec" if session.phase == "output" else session.phase
    return Failure(phase, f"the server broke the protocol at {_step(session)}: {said}; try --transport openssh")
