"""The parent's half of reading an inventory: Ansible runs in a child, and its answer comes line by line over a pipe.

A child, because Ansible holds on to everything it parsed, writes to stdout, and checks its terminal on import. Nothing
goes over the command line, the environment or a file: what comes back holds passwords.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ..core.errors import NumatuneError
from ..transport.failure import clean
from .quoted import Quoted


class InventoryError(NumatuneError):
    """An inventory, a pattern or a vault gives no list of hosts; one line that says why."""


class Row(dict[str, Any]):
    """A line of the child's answer. Its passwords are in no traceback, not even in one that shows local variables."""

    def __repr__(self) -> str:
        """Show whose it is and nothing else."""
        return f"Row({self.get('host', '')!r}, …)"


@dataclass(frozen=True)
class Request:
    """What the child is asked; the fields are named as Ansible names them."""

    inventory: tuple[str, ...]
    words: tuple[str, ...]
    limit: str | None = None
    user: str | None = None
    private_key: str | None = None
    become: bool = False
    become_user: str | None = None
    vault_ids: tuple[str, ...] = ()
    vault_password_files: tuple[str, ...] = ()
    ask_vault_pass: bool = False


def answers(request: Request) -> Iterator[Row]:
    """Yield the child's lines, see `ansible_child`: notes and hosts; raises InventoryError with the child's error."""
    request_end, to_child = os.pipe()
    from_child, answer_end = os.pipe()
    # The same modules as here, and no folder in front of them: the working directory is often a playbook's.
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; from numatune.fleet.ansible_child import main;"
        f" main({request_end}, {answer_end})"
    )
    with tempfile.TemporaryFile() as errors, os.fdopen(from_child, encoding="utf-8") as lines:
        child = subprocess.Popen(
            [sys.executable, "-P", "-c", code],
            pass_fds=(request_end, answer_end),
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=_environment(),
        )
        os.close(request_end)
        os.close(answer_end)
        try:
            with os.fdopen(to_child, "w", encoding="utf-8") as stream:
                json.dump(asdict(request), stream)
            complete = yield from _read(lines)
        except BrokenPipeError:
            complete = False
        finally:
            # Ended early (Ctrl-C, an error) it would write on into a pipe that nobody reads.
            if child.poll() is None:
                lines.close()
                _end(child)
        if not complete:
            errors.seek(max(0, errors.seek(0, os.SEEK_END) - 4000))
            # The last line says what happened; those before it are a traceback's, which quotes what it was reading.
            last = (errors.read().strip().splitlines() or [b"it said nothing"])[-1]
            said = clean(Quoted(request.inventory).hide(last.decode("utf-8", "replace")), 400)
            raise InventoryError(f"Ansible could not read the inventory (exit {child.wait()}): {said}")


def _read(lines: Any) -> Generator[Row, None, bool]:
    hosts = 0
    for line in lines:
        row = Row(json.loads(line))
        if "error" in row:
            raise InventoryError(row["error"])
        if "end" in row:
            return bool(row["end"] == hosts)
        hosts += "host" in row
        yield row
    return False


def _end(child: subprocess.Popen[bytes]) -> None:
    try:
        child.wait(1)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _environment() -> dict[str, str]:
    """Return this environment; where its locale is not UTF-8, which Ansible refuses, with one that is."""
    environment = dict(os.environ)
    locale = environment.get("LC_ALL") or environment.get("LC_CTYPE") or environment.get("LANG") or ""
    if "utf" not in locale.lower():
        environment["LC_ALL"] = "C.UTF-8"
    return environment
