"""How ssh gets a password: by an SSH_ASKPASS helper that asks this process through two FIFOs in a private folder.

`--ask-pass`, an inventory's passwords and passphrases of keys mean the same to both transports, since numatune may take
this one by itself. No secret is in an argument, in the environment or in a file. This process sees each question and
answers only those that a secret was given for: a password goes to the host itself, never to a jump host.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..endpoint import Endpoint, Secrets
from ..failure import Failure
from .folders import private_folder

# `read` and `printf` are builtins: the answer is in no process's arguments. A line that does not begin with = refuses.
_HELPER = """#!/bin/sh
folder=${0%/*}
{ printf '%s %s' "$PPID" "$1" | tr '\\000-\\037' ' '; echo; } 1<>"$folder/question" || exit 1
IFS= read -r answer <"$folder/answer" || exit 1
case $answer in
  =*) printf '%s\\n' "${answer#=}";;
  *) exit 1;;
esac
"""
_LONGEST = 4096
_MOST_PASSPHRASES = 8
_PASSPHRASE = re.compile(r"Enter passphrase for (?:key )?'([^']*)': *")
_PATH_SHOWN = 100


class Answers:
    """What may be answered for one host, and how often."""

    def __init__(self, endpoint: Endpoint, secrets: Secrets) -> None:
        self._secrets = secrets
        names = {name.lower() for name in (endpoint.ssh_word, endpoint.hostname, endpoint.host_key_alias) if name}
        # ssh cuts the names that it shows to these lengths.
        self._heads = {
            form.format(user=endpoint.user[:30], name=name[:128])
            for name in names
            for form in ("{user}@{name}'s password:", "({user}@{name}) ")
        }
        ends = (endpoint, *endpoint.jumps)
        self._keys = {path[:_PATH_SHOWN] for each in ends for path in each.identity_files}
        self._passwords = 0
        self._passphrases = 0

    @property
    def hint(self) -> str:
        """Return what to add to a refusal: ssh itself does not say that a passphrase was wrong."""
        return "; the passphrase given for a key may be wrong" if self._passphrases else ""

    def to(self, question: str, asker: int, ssh: int) -> str | None:
        """Return the secret that the question may have, None for none; `asker` is the process that asks.

        Only `ssh`, which goes to the host itself, is given a password: its child may show a jump host's words as
        they are (before OpenSSH 8.5), and those may be anything.
        """
        folded = question.strip()
        key = _PASSPHRASE.fullmatch(folded)
        if key is not None:
            if self._keys and key[1][:_PATH_SHOWN] not in self._keys:
                return None
            self._passphrases += 1
            return self._secrets.key_passphrase if self._passphrases <= _MOST_PASSPHRASES else None
        if asker == ssh and any(folded.lower().startswith(head.lower().rstrip()) for head in self._heads):
            self._passwords += 1
            return self._secrets.password if self._passwords == 1 else None
        return None


class Askpass:
    """The private folder of one ssh process: its `environment`, a `descriptor` to poll, `serve` when it is readable."""

    def __init__(self, folder: Path, answers: Answers) -> None:
        self.answers = answers
        self.ssh = 0  # the process that goes to the host itself
        self._pending = b""
        self._reply: bytes | None = None
        self._helper = folder / "askpass"
        self._answer = folder / "answer"
        descriptor = os.open(self._helper, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o700)
        with os.fdopen(descriptor, "w", encoding="ascii") as helper:
            helper.write(_HELPER)
        for name in ("question", "answer"):
            os.mkfifo(folder / name, 0o600)
        # Both ends: it never reads as ended between two questions.
        self.descriptor = os.open(folder / "question", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._out = os.open(self._answer, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    @property
    def environment(self) -> dict[str, str]:
        """What ssh needs in its environment; no secret."""
        return {"SSH_ASKPASS": os.fspath(self._helper), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":"}

    def serve(self) -> None:
        """Read what has been asked and answer it; raises Failure("auth") for a secret that one line cannot carry."""
        with suppress(BlockingIOError):
            self._pending += os.read(self.descriptor, _LONGEST)
        while b"\n" in self._pending:
            line, _, self._pending = self._pending.partition(b"\n")
            if line.strip():
                asker, _, question = line.decode("utf-8", "replace").partition(" ")
                self._say(self.answers.to(question, int(asker) if asker.isdigit() else 0, self.ssh))
        if len(self._pending) > _LONGEST:
            raise Failure("auth", "ssh asks a question without end")

    def _say(self, secret: str | None) -> None:
        if secret is not None and any(sign in secret for sign in "\n\r\0"):
            raise Failure("auth", "the password or passphrase holds a line break, which ssh cannot be handed")
        reply = b"!\n" if secret is None else f"={secret}\n".encode()
        if len(reply) > _LONGEST:
            raise Failure("auth", "the password or passphrase is longer than 4,000 bytes")
        with suppress(BlockingIOError):
            os.write(self._out, reply)

    def close(self) -> None:
        """Close the FIFOs."""
        os.close(self.descriptor)
        os.close(self._out)


@contextmanager
def opened(endpoint: Endpoint, secrets: Secrets) -> Iterator[Askpass | None]:
    """Give the helper of one ssh process, None where there is no secret to give; the folder goes when it ends."""
    if secrets.password is None and secrets.key_passphrase is None:
        yield None
        return
    folder = private_folder()
    try:
        askpass = Askpass(folder, Answers(endpoint, secrets))
        try:
            yield askpass
        finally:
            askpass.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
