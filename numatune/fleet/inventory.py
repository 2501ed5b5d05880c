"""The hosts of a run: an inventory's, read by Ansible's own code, or the words that were given.

`-i X -l PATTERN` means here what it means to `ansible-playbook`: hosts, order and connection variables. Two things
differ, on purpose: an inventory source that cannot be read is an error (Ansible warns and goes on without its hosts),
and host keys are checked whatever `host_key_checking` says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ..core.errors import InputError
from ..transport.endpoint import Secrets, Target
from ..transport.failure import clean
from . import ansible_reader, secrets, words
from .ansible_reader import Row
from .variables import Builder


@dataclass(frozen=True)
class Options:
    """What was said on the command line about logging in; variables of the inventory win over all of it.

    user, private_key, become, become_user   defaults for every host
    ask_pass, ask_become_pass                ask once for the password to log in with, and for sudo's
    vault_ids, vault_password_files, ask_vault_pass   as Ansible's options of these names
    ssh_config      the file of `-F`, read instead of the user's and the system's
    host_keys       "strict" or "accept-new"; None: what ssh_config says
    note            takes one printable line for the user: warnings of Ansible, and what is read differently
    ask             returns what is typed after a prompt; raises InputError without a terminal
    """

    user: str | None = None
    private_key: str | None = None
    ask_pass: bool = False
    become: bool = False
    become_user: str | None = None
    ask_become_pass: bool = False
    vault_ids: tuple[str, ...] = ()
    vault_password_files: tuple[str, ...] = ()
    ask_vault_pass: bool = False
    ssh_config: Path | None = None
    host_keys: Literal["strict", "accept-new"] | None = None
    note: Callable[[str], None] = lambda _line: None
    ask: Callable[[str], str] = secrets.ask


def targets(inventory: Sequence[str], pattern: str | None, given: Sequence[str], options: Options) -> list[Target]:
    """Return the hosts to ask, in the inventory's order or that of the words, each alias once.

    inventory   values of `-i`; empty: `given` holds [user@]host[:port] words
    pattern     the value of `-l`
    given       hosts, groups or patterns of the inventory; empty: all of it

    Raises NumatuneError, one line: an inventory missing or unreadable, nothing matches, a vault without its password, a
    word that is not a host, a password to be asked for without a terminal. What is wrong with one host alone is in its
    target's `refused`.
    """
    rows = _inventory_rows(inventory, pattern, given, options) if inventory else _word_rows(given, options)
    # Asked for after the inventory is known to be good, and before the first host is.
    builder = Builder(
        asked=_asked(options),
        config=options.ssh_config,
        host_keys=options.host_keys,
        note=options.note,
    )
    found: list[Target] = []
    rows.reverse()
    while rows:  # each row goes as its target comes: for 10,000 hosts both would be 20 MB
        found.append(builder.target(rows.pop()))
    return _with_passphrases(found, options)


def _word_rows(given: Sequence[str], options: Options) -> list[Row]:
    rows = []
    for word in words.parse_all(given):
        row = Row(
            {
                "host": word.text,
                "address": word.host,
                "connection": "ssh",
                "become": options.become,
                "become_method": "sudo",
                "become_user": options.become_user,
                "user": word.user or options.user,
                "port": word.port,
                "key_file": options.private_key,
            }
        )
        rows.append(row)
    return rows


def _inventory_rows(inventory: Sequence[str], pattern: str | None, given: Sequence[str], options: Options) -> list[Row]:
    for source in inventory:
        # `a,b` and `a,` are lists of hosts; everything else is a path to Ansible too.
        if "," not in source and not Path(source).expanduser().exists():
            hint = f"; a list of hosts ends with a comma: {clean(source, 80)}," if "/" not in source else ""
            raise InputError(f"{clean(source, 200)}: there is no such inventory{hint}")
    for word in given:
        if word.startswith("-"):
            raise InputError(f"{clean(word, 80)}: a host, a group or a pattern does not begin with `-`")
    _check_vault_terminal(options)
    request = ansible_reader.Request(
        inventory=tuple(inventory),
        words=tuple(given),
        limit=pattern,
        user=options.user,
        private_key=options.private_key,
        become=options.become,
        become_user=options.become_user,
        vault_ids=options.vault_ids,
        vault_password_files=options.vault_password_files,
        ask_vault_pass=options.ask_vault_pass,
    )
    rows = []
    for row in ansible_reader.answers(request):
        if "note" in row:
            options.note(row["note"])
        else:
            rows.append(row)
    return rows


def _check_vault_terminal(options: Options) -> None:
    prompts = any(word.rpartition("@")[2] in ("prompt", "prompt_ask_vault_pass") for word in options.vault_ids)
    if (prompts or options.ask_vault_pass) and not secrets.has_terminal():
        raise InputError("the vault's password is to be asked for, but there is no terminal: use --vault-password-file")


def _asked(options: Options) -> Secrets:
    asked = Secrets(password=options.ask("SSH password: ") if options.ask_pass else None)
    if options.ask_become_pass:
        # As Ansible: with both asked for, an empty answer means the same password.
        hint = "BECOME password [defaults to SSH password]: " if asked.password else "BECOME password: "
        asked = replace(asked, become_password=options.ask(hint) or asked.password)
    return asked


def _with_passphrases(found: list[Target], options: Options) -> list[Target]:
    """Ask once for the passphrase of each locked key, if anybody is there to ask.

    A key counts where it is the first of a host's keys that exists, no agent holds it and there is no password to log
    in with. Without a terminal nothing is asked: the failure says which key was locked. An empty answer skips it.
    """
    firsts: dict[tuple[str, ...], str | None] = {}
    for target in found:
        if _may_need_passphrase(target):
            files = target.endpoint.identity_files
            if files not in firsts:
                firsts[files] = next((name for name in files if Path(name).is_file()), None)
    phrases: dict[str, str] = {}
    for name in secrets.locked_keys(dict.fromkeys(name for name in firsts.values() if name)):
        if options.ask is secrets.ask and not secrets.has_terminal():
            break
        phrases[name] = options.ask(f"Passphrase of the key {clean(name, 200)}: ")
    opened: dict[tuple[Secrets, str], Secrets] = {}
    for place, target in enumerate(found if any(phrases.values()) else ()):
        first = firsts.get(target.endpoint.identity_files) if _may_need_passphrase(target) else None
        if first is not None and phrases.get(first):
            key = (target.secrets, first)
            if key not in opened:
                opened[key] = replace(target.secrets, key_passphrase=phrases[first])
            found[place] = replace(target, secrets=opened[key])
    return found


def _may_need_passphrase(target: Target) -> bool:
    given = target.secrets
    return target.endpoint.connection == "ssh" and given.password is None and given.key_passphrase is None
