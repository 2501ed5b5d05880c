"""Ansible's own code over an inventory: hosts and effective connection options, in a process of its own.

This runs in the child that `ansible_reader` starts, so that Ansible's objects go with it. It answers in lines of JSON:
{"note": …} what Ansible warned of, {"error": …} why there is no answer, {"host": alias, …} one host in the order in
which Ansible would take them, {"end": count} last. A line of a host holds, where they are set:

    address port user key_file password passphrase key_in_variable    the ssh plugin's options, as it would take them
    ssh_args ssh_common_args ssh_extra_args timeout                   those too, and only where somebody set them
    connection check_host_keys                                        the plugin's name (default ssh), false = off
    become become_method become_user become_password become_exe become_flags
    wanted                                                            what decides a judgement, see `core.inventory`,
                                                                      and null for what `core.variables` does not know
    refused                                                           why its variables give no connection
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TextIO

from .ansible_options import ConnectionOptions
from .quoted import Quoted, is_odd_name, whole_words

_MOST = 500
_OLDEST = (2, 19)
_INSTALL = "pip install 'ansible-core>=2.19', beside numatune"


class _StopError(Exception):
    """Ends the answer with one line for the user."""


def main(request_fd: int, answer_fd: int) -> None:
    """Read the request (JSON, see `ansible_reader.Request`) from one file descriptor and answer to the other."""
    with os.fdopen(request_fd, encoding="utf-8") as stream:
        request = json.load(stream)
    # A broken pipe: the parent was stopped and nobody listens any more.
    answer = os.fdopen(answer_fd, "w", encoding="utf-8", errors="backslashreplace")
    with contextlib.suppress(BrokenPipeError), answer as stream:
        out = _Out(stream, Quoted(request["inventory"]))
        try:
            _answer(request, out)
        except _StopError as stop:
            out.say({"error": str(stop)})
        except BrokenPipeError:
            raise
        except Exception as error:
            # A plugin's own failure, an ansible.cfg that makes no sense: a traceback would quote the files' text.
            out.say({"error": f"Ansible could not read the inventory: {type(error).__name__}: {_explain(error)}"})


class _Out:
    """Where the answer goes. What it says in words is one line, and quotes no secret of the inventory."""

    def __init__(self, stream: TextIO, quoted: Quoted) -> None:
        self._stream = stream
        self.quoted = quoted

    def say(self, row: Mapping[str, Any]) -> None:
        """Write one line of the answer."""
        words = [key for key in ("note", "error", "refused") if key in row]
        told = {key: cut(self.quoted.hide(row[key], of_host=key == "refused")) for key in words}
        self._stream.write(json.dumps({**row, **told}, separators=(",", ":"), default=str) + "\n")


def _answer(request: Mapping[str, Any], out: _Out) -> None:
    _check_version()
    from ansible.errors import AnsibleError

    notes: list[str] = []
    _silence(notes, out)
    try:
        inventory, variables, loader = _load(request)
        hosts = _select(inventory, request)
        count = 0
        for row in _rows(hosts, inventory, variables, loader, request, out.quoted):
            out.say(row)
            count += 1
    except AnsibleError as error:
        raise _StopError("; ".join([_explain(error), *_causes(notes)])) from None
    out.say({"end": count})


def _check_version() -> None:
    try:
        from ansible.release import __version__ as version
    except ImportError:
        raise _StopError(f"ansible-core is not installed, and only it reads an inventory: {_INSTALL}") from None
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if numbers < _OLDEST:
        raise _StopError(f"ansible-core {_one_line(version)} is too old to read an inventory with: {_INSTALL}")


def _silence(notes: list[str], out: _Out) -> None:
    """Turn Ansible's display into notes, each once: without excerpts of files, which may hold passwords."""
    from ansible import constants
    from ansible.utils.display import Display

    display = Display()
    seen: set[str] = set()

    def note(kind: str, summary: Any) -> None:
        parts: list[str] = []
        event = summary.event
        while event is not None and len(parts) < 4:
            parts.append(_one_line(event.msg))
            event = event.chain.event if event.chain else None
        line = f"{kind}: " + " ".join(dict.fromkeys(parts))
        if line not in seen and len(seen) < 100:
            seen.add(line)
            notes.append(line)
            out.say({"note": line})

    def deprecated(summary: Any) -> None:
        if constants.config.get_config_value("DEPRECATION_WARNINGS"):
            note("Ansible, deprecated", summary)

    display._warning = lambda summary: note("Ansible", summary)
    display._deprecated = deprecated
    display.display = lambda *_args, **_kwargs: None
    display.error = lambda *_args, **_kwargs: None


def _causes(notes: Iterable[str]) -> list[str]:
    return [note.partition(": ")[2] for note in notes if "Failed to parse" in note][:2]


def _load(request: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """Return (InventoryManager, VariableManager, DataLoader), made by what makes them for the command `ansible`."""
    from ansible import constants
    from ansible.cli.adhoc import AdHocCLI
    from ansible.plugins.loader import init_plugin_loader
    from ansible.vars.hostvars import HostVars

    # Ansible warns and goes on without the hosts of a source that it cannot read: those would pass unseen.
    constants.INVENTORY_ANY_UNPARSED_IS_FAILED = True
    arguments = ["ansible", *(f"--inventory={source}" for source in request["inventory"])]
    arguments += [f"--vault-id={word}" for word in request["vault_ids"]]
    arguments += [f"--vault-password-file={word}" for word in request["vault_password_files"]]
    arguments += ["--ask-vault-pass"] if request["ask_vault_pass"] else []
    command = AdHocCLI([*arguments, "all"])
    command.parse()
    init_plugin_loader()
    command.USES_CONNECTION = False  # or it may start an ssh-agent, which nobody would use
    loader, inventory, variables = command._play_prereqs()
    HostVars(inventory=inventory, variable_manager=variables, loader=loader)  # it makes itself known to `variables`
    return inventory, variables, loader


def _select(inventory: Any, request: Mapping[str, Any]) -> list[Any]:
    """Return the hosts of the pattern, in Ansible's order; a word or a selection without hosts is an error."""
    words: list[str] = request["words"] or ["all"]
    for word in request["words"]:
        if word[:1] not in "!&" and not inventory.get_hosts(word, ignore_limits=True):
            raise _StopError(f"{_one_line(word)}: no host, group or pattern of the inventory matches it")
    limit = request["limit"]
    if limit is not None:
        inventory.subset(limit)
    hosts: list[Any] = inventory.get_hosts(words)
    if not hosts:
        if not inventory.hosts:
            raise _StopError(f"the inventory holds no hosts: {_one_line(', '.join(request['inventory']))}")
        said = "" if limit is None else f" with the limit {_one_line(limit)}"
        raise _StopError(f"{_one_line(':'.join(words))}{said}: no host of the inventory matches")
    return hosts


def _rows(
    hosts: Iterable[Any], inventory: Any, variables: Any, loader: Any, request: Mapping[str, Any], quoted: Quoted
) -> Iterator[dict[str, Any]]:
    from ansible.errors import AnsibleError

    options = ConnectionOptions(loader, request)
    _leave_out_no_facts()
    for host in hosts:
        row: dict[str, Any] = {"host": str(host.name)}
        if is_odd_name(str(host.name)):
            raise _StopError("the name of a host is a password's variable and its value: a colon or a line is missing")
        known: Mapping[str, Any] = {}
        try:
            known = variables.get_vars(host=host)
            options.fill(row, known)
        except AnsibleError as error:
            quoted.add(known)
            if _is_vault(error):
                said = _explain(error)
                raise _StopError(f"{host.name}: a value in the vault cannot be read: {said}") from None
            row = {"host": str(host.name), "refused": _explain(error)}
        yield row


def _leave_out_no_facts() -> None:
    """Let Ansible clean the facts of a host only where there are some: it walks over all plugins for each host."""
    from ansible.vars import manager

    clean: Any = getattr(manager, "clean_facts", None)
    if clean is not None:
        manager.clean_facts = lambda facts: clean(facts) if facts else {}


def _is_vault(error: BaseException) -> bool:
    from ansible.parsing.vault import AnsibleVaultError

    chain: BaseException | None = error
    while chain is not None and not isinstance(chain, AnsibleVaultError):
        chain = chain.__cause__
    # Behind a template the cause is told in words only.
    return chain is not None or "undecryptable variable" in str(error)


def _explain(error: BaseException) -> str:
    message = getattr(error, "message", None)
    return _one_line(message if isinstance(message, str) and message else str(error))


def _one_line(text: object) -> str:
    # What Ansible quotes of a line that it cannot read may be a piece of a password.
    line = re.sub(r"(assignment, got|but got): .*", r"\1 something else", whole_words(str(text), 4 * _MOST))
    return " ".join("".join(sign if sign.isprintable() else " " for sign in line).split())


def cut(line: str) -> str:
    """Return a line of at most 500 characters; secrets go before it is cut."""
    return line if len(line) <= _MOST else line[: _MOST - 1] + "…"


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
