"""Inventories that cannot be read as meant: Ansible quotes them in its messages, and numatune no secret of them."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path

import pytest

from numatune.cli import main
from numatune.fleet.quoted import Quoted

SECRET = "Zq7xTroub4dor"
S = SECRET


def of_h1(text: str) -> str:
    """Return an inventory in which the host h1 has these variables."""
    lines = "".join(f"      {line}\n" for line in text.splitlines())
    return f"all:\n  hosts:\n    h1:\n{lines}"


CASES: dict[str, tuple[str, str]] = {
    "a quote that does not end": ("hosts", f"h1 ansible_password='{S}\n"),
    "a double quote that does not end": ("hosts", f'h1 ansible_password="{S}\n'),
    "the second quote does not end": ("hosts", f"h1 ansible_user=x  ansible_password='{S} y' z='\n"),
    "under a name of one's own": ("hosts", f"h1 my_pw='{S}\n"),
    "under a name that tells nothing": ("hosts", f"h1 colour='{S}\n"),
    "in the words for ssh": ("hosts", f"h1 ansible_ssh_common_args='-o ProxyCommand={S}\n"),
    "sshpass without quotes": (
        "hosts",
        f"h1 ansible_ssh_common_args='-o ProxyCommand=sshpass -p {S} ssh -W %h:%p j'\n",
    ),
    "a pipe to sudo": ("hosts.yml", of_h1(f"ansible_become: true\nansible_become_exe: echo {S} | sudo")),
    "an escape at the end": ("hosts", f"h1 ansible_password={S}\\\n"),
    "no equals sign": ("hosts", f"h1 ansible_password {S}\n"),
    "a blank too many": ("hosts", f"h1 ansible_password= {S}\n"),
    "a list in quotes": ("hosts", f"h1 ansible_password=\"['{S}', 'b']\"\n"),
    "no equals sign in variables": ("hosts", f"h1\n[all:vars]\nansible_password {S}\n"),
    "a colon in variables": ("hosts", f"h1\n[all:vars]\nansible_password: {S}\n"),
    "among children": ("hosts", f"[a:children]\nansible_password={S}\n"),
    "a section of no kind": ("hosts", f"h1\n[all:var]\nansible_password={S}\n"),
    "a range": ("hosts", f"h[1:{S}] ansible_password={S}\n"),
    "a list": ("hosts.yml", of_h1(f"ansible_password: [{S}, b]")),
    "a list below": ("hosts.yml", of_h1(f"ansible_password:\n  - {S}\n  - b")),
    "a mapping": ("hosts.yml", of_h1(f"ansible_password: {{x: {S}}}")),
    "a list that does not end": ("hosts.yml", of_h1(f"ansible_password: [{S}")),
    "two colons": ("hosts.yml", of_h1(f"ansible_password: a: {S}")),
    "a sign that begins nothing": ("hosts.yml", of_h1(f"ansible_password: @{S}")),
    "a tag": ("hosts.yml", of_h1(f"ansible_password: !{S} x")),
    "a number": ("hosts.yml", of_h1(f"ansible_password: !!int {S}")),
    "twice": ("hosts.yml", of_h1(f"ansible_password: {S}\nansible_password: {S}b")),
    "a filter that is none": ("hosts.yml", of_h1(f"ansible_password: \"{{{{ '{S}' | nofilter }}}}\"")),
    "a file of that name": ("hosts.yml", of_h1(f"pw: {S}\nansible_password: \"{{{{ lookup('file', pw) }}}}\"")),
    "a list as passphrase": ("hosts.yml", of_h1(f"ansible_private_key_passphrase: [{S}, b]")),
    "not from a vault": ("hosts.yml", of_h1(f"ansible_password: !vault {S}")),
    "a host is a text": ("hosts.yml", f"all:\n  hosts:\n    h1: ansible_password={S}\n"),
    "hosts are a text": ("hosts.yml", f"all:\n  hosts: ansible_password {S}\n"),
    "variables are a text": ("hosts.yml", f"all:\n  hosts:\n    h1:\n  vars: ansible_password={S}\n"),
    "JSON that does not end": ("hosts.json", f'{{"all": {{"hosts": {{"h1": {{"ansible_password": "{S}}}}}}}}}'),
    "before the address": ("hosts.yml", of_h1(f"ansible_host: 'root:{S}@10.0.0.1'")),
    "behind the user": ("hosts.yml", of_h1(f"ansible_user: 'root:{S} x'")),
    "behind the user to become": ("hosts.yml", of_h1(f"ansible_become: true\nansible_become_user: 'root:{S}'")),
    "a word for ssh that is no option": ("hosts", f"h1 ansible_ssh_common_args='-p 1 {S}' ansible_host=127.0.0.1\n"),
    **{
        f"the password as {name}": ("hosts.yml", of_h1(f"ansible_password: {S}\n{name}: {value}"))
        for name, value in {
            "ansible_host": f"'x {S}'",
            "ansible_user": f"'x {S}'",
            "ansible_connection": S,
            "ansible_ssh_common_args": f"-o ServerAliveInterval={S}",
            "ansible_become_method": f"{S}\nansible_become: true",
        }.items()
    },
    "variables of a group": ("group_vars", f"ansible_password={S}\n"),
}


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


@pytest.mark.parametrize(("name", "text"), CASES.values(), ids=CASES)
def test_no_secret_of_a_malformed_inventory_is_repeated(
    name: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path("hosts" if name == "group_vars" else name)
    if name == "group_vars":
        Path("group_vars").mkdir()
        Path("group_vars/all.yml").write_text(text)
        text = "h1\n"
    path.write_text(text)
    path.chmod(0o755 if name.endswith(".sh") else 0o644)
    kept = ["--store", "store", "--report", "json=report.json", "--report", "text=report", "--format", "json"]
    # Nobody listens on port 1 there, where the inventory can be read in spite of it all.
    code = main(["audit", "-i", name if name != "group_vars" else "hosts", "--timeout", "3", *kept])
    out, err = capsys.readouterr()
    assert code in (2, 3)
    assert "Traceback" not in err
    written = [out, err, *(Path(each).read_text() for each in ("report.json", "report") if Path(each).exists())]
    if Path("store").exists():
        written.append(Path("store").read_bytes().decode("latin-1"))
        with sqlite3.connect("store") as store:
            written.append("\n".join(store.iterdump()))
    for each in written:
        assert SECRET not in each
    # Something is said all the same: of the inventory, or of the host.
    assert err.strip() or json.loads(out)["hosts"][0]["error"]


def test_what_helps_is_left() -> None:
    lines = ["[web]", f"h1 ansible_host=10.0.0.1 ansible_password={SECRET}", "[web:vars]"]
    Path("hosts").write_text("\n".join([*lines, "ansible_become_password={{ vault_it }}", ""]))
    quoted = Quoted(["hosts"])
    assert quoted.hide("'vault_it' is undefined in [web:vars], h1") == "'vault_it' is undefined in [web:vars], h1"
    assert quoted.hide(f"'{SECRET}', {SECRET}. and x{SECRET}") == f"'***', ***. and x{SECRET}"
    assert quoted.hide(f"cannot parse '{lines[1]}'") == "cannot parse 'h1 …'"


def test_values_that_go_on_in_deeper_lines_and_those_of_a_vault() -> None:
    Path("h.yml").write_text(f"all:\n  vars:\n    api_token:\n      - {SECRET}\n      - x: other1\n    port: other2\n")
    quoted = Quoted(["h.yml"])
    assert quoted.hide(f"{SECRET} other1 other2") == "*** *** other2"
    quoted.add({"ansible_become_pass": {"a": ["from-vault"]}, "ansible_host": "10.0.0.1"})
    assert quoted.hide("got ['from-vault', 'y'] for 10.0.0.1", of_host=True) == "got ['***', 'y'] for 10.0.0.1"


def test_a_cut_leaves_no_piece_of_a_secret() -> None:
    Path("hosts").write_text(f"h1 ansible_password={SECRET}\n")
    said = Quoted(["hosts"]).hide("word " * 398 + f"{'y' * 6} {SECRET} more")
    assert re.search("Zq7", said) is None
