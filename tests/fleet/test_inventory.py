"""The hosts and connection variables of an inventory, against what Ansible's own commands make of it."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import pytest

from numatune.core.errors import NumatuneError
from numatune.fleet import inventory, ssh_words
from numatune.fleet.inventory import Options, targets
from numatune.transport.endpoint import Target

BIN = Path(sys.executable).parent

INI = """
lone
[web]
web[1:4] ansible_host=10.0.0.1
[db]
db-a
db-b ansible_port=2222
[serving:children]
web
db
[old]
web4
"""


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, with no configuration of Ansible or ssh but the test's own."""
    for name in [name for name in os.environ if name.startswith("ANSIBLE_") or name == "SSH_AUTH_SOCK"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "ssh_config").write_text("")
    monkeypatch.setenv("ANSIBLE_CONFIG", "ansible.cfg")
    (tmp_path / "ansible.cfg").write_text("[defaults]\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def find(source: str | Sequence[str], limit: str | None = None, *words: str, **more: object) -> list[Target]:
    """Return the targets of one inventory or several."""
    sources = [source] if isinstance(source, str) else source
    return targets(sources, limit, words, Options(ssh_config=Path("ssh_config"), **more))  # type: ignore[arg-type]  # fields by name


def one(text: str, **more: object) -> Target:
    """Return the only target of an inventory in INI form."""
    Path("hosts").write_text(text + "\n")
    (target,) = find("hosts", **more)
    return target


def layout() -> None:
    """Write inventories of every kind."""
    Path("hosts").write_text(INI)
    Path("more.yml").write_text(
        "all:\n  children:\n    web:\n      hosts:\n        web9:\n          ansible_user: nine\n"
    )
    Path("failed.retry").write_text("web2\ndb-b\n")
    folder = Path("site")
    (folder / "group_vars").mkdir(parents=True)
    (folder / "10-hosts").write_text(INI)
    (folder / "20.yml").write_text(Path("more.yml").read_text())
    (folder / "group_vars" / "web.yml").write_text("ansible_user: webber\n")
    script = Path("dynamic.sh")
    script.write_text(
        """#!/bin/sh\necho '{"g": {"hosts": ["s1", "s2"]}, "_meta": {"hostvars": {"s1": {"ansible_port": 7}}}}'\n"""
    )
    script.chmod(0o755)


SELECTIONS: list[tuple[list[str], str | None, str]] = [
    (["hosts"], None, "all"),
    (["hosts"], "serving:!old", "all"),
    (["hosts"], "web:&old", "all"),
    (["hosts"], "web[1:2]", "all"),
    (["hosts"], "~(web|db-)[2a]$", "all"),
    (["hosts"], "@failed.retry", "all"),
    (["hosts"], "web*,lone", "all"),
    (["hosts"], "!web", "all"),
    (["hosts"], None, "ungrouped"),
    (["hosts"], "web3", "serving"),
    (["hosts", "more.yml"], "web", "all"),
    (["site"], "web", "all"),
    (["dynamic.sh"], None, "g"),
    (["a1,b2,"], None, "all"),
    (["hosts"], None, "localhost"),
]
# One start of Ansible for all selections: each is asked of a fork, of the command `ansible` and of numatune's child.
BOTH = """
import io, json, os, sys
from ansible.cli.adhoc import AdHocCLI
from numatune.fleet import ansible_child
from numatune.fleet.ansible_reader import Request
from dataclasses import asdict
from ansible import constants
from ansible.plugins.loader import init_plugin_loader, inventory_loader
init_plugin_loader()
for plugin in constants.INVENTORY_ENABLED:
    inventory_loader.get(plugin)
def theirs(sources, limit, pattern):
    words = ["ansible", *("-i" + source for source in sources), "--list-hosts", pattern]
    AdHocCLI(words + (["-l", limit] if limit else [])).run()
def mine(sources, limit, pattern):
    request = json.loads(json.dumps(asdict(Request(sources, [] if pattern == "all" else [pattern], limit))))
    ansible_child._answer(request, ansible_child._Out(sys.stdout, ansible_child.Quoted(sources)))
found = []
for case in json.load(sys.stdin):
    for work in (theirs, mine):
        out, into = os.pipe()
        if not os.fork():
            os.dup2(into, 1)
            work(*case)
            sys.stdout.flush()
            os._exit(0)
        os.close(into)
        with os.fdopen(out) as stream:
            found.append(stream.read().splitlines())
        os.wait()
json.dump(found, sys.stdout)
"""


def test_hosts_are_those_of_ansible(monkeypatch: pytest.MonkeyPatch) -> None:
    layout()
    monkeypatch.setenv("PYTHONPATH", str(Path(inventory.__file__).parents[2]))
    done = subprocess.run(
        [sys.executable, "-c", BOTH], input=json.dumps(SELECTIONS), capture_output=True, text=True, check=True
    )
    answers = iter(json.loads(done.stdout))
    for selection in SELECTIONS:
        theirs = [line.strip() for line in next(answers)[1:]]
        rows = [json.loads(line) for line in next(answers)]
        mine = [row["host"] for row in rows if "host" in row]
        assert mine == theirs, selection
        assert rows[-1] == {"end": len(mine)}
        assert mine


def test_a_selection_reaches_the_targets() -> None:
    layout()
    assert [target.alias for target in find(["hosts", "more.yml"], "web:!old", "serving")] == [
        "web1",
        "web2",
        "web3",
        "web9",
    ]


CONNECTIONS = """
plain
addressed ansible_host=192.0.2.7 ansible_port=2201 ansible_user=joe
legacy ansible_ssh_host=192.0.2.8 ansible_ssh_port=2202 ansible_ssh_user=ann ansible_ssh_private_key_file=~/k1
both ansible_host=192.0.2.9 ansible_ssh_host=192.0.2.10 ansible_user=first ansible_ssh_user=second
key ansible_private_key_file=/keys/k2
templated ansible_host="{{ inventory_hostname }}.example.org" ansible_user="{{ 'u' ~ groups['all'] | length }}"
common ansible_user=x ansible_ssh_common_args='-o User=y -o Port=2203 -J jump1,jump2' ansible_ssh_extra_args='-o Port=9'
first ansible_ssh_args='-l z -p 2204 -i k3' ansible_user=x ansible_private_key_file=/keys/k4
six ansible_host=2001:db8::1
slow ansible_timeout=33
"""
FAKE_SSH = """#!/bin/sh
case "$1" in -V) exit 0;; esac
for word; do printf '%s\\0' "$word"; done > "$FAKE_OUT/$$"
exit 255
"""


def test_connections_are_those_of_ansible(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The ssh of this play writes down its command line; ssh itself then says what that comes to (`ssh -G`).
    Path("hosts").write_text(CONNECTIONS)
    Path("ansible.cfg").write_text("[defaults]\nremote_user = general\nhost_key_checking = True\n")
    Path("fake-ssh").write_text(FAKE_SSH)
    Path("fake-ssh").chmod(0o755)
    Path("out").mkdir()
    Path("k3").touch()  # ssh drops a key of `-i` that does not exist
    monkeypatch.setenv("FAKE_OUT", str(alone / "out"))
    monkeypatch.setenv("ANSIBLE_SSH_EXECUTABLE", str(alone / "fake-ssh"))
    play = [str(BIN / "ansible"), "-ihosts", "all", "-mraw", "-aMARK-{{ inventory_hostname }}-"]
    subprocess.run(play, capture_output=True, timeout=120, check=False)
    theirs: dict[str, dict[str, list[str]]] = {}
    for file in Path("out").iterdir():
        words = file.read_text().split("\0")[:-1]
        said = re.search(r"MARK-(\w+)-", words[-1])
        if said:
            theirs[said[1]] = ssh_says(words[:-1])
    mine = {target.alias: target.endpoint for target in find("hosts")}
    assert set(mine) == set(theirs)
    for alias, end in mine.items():
        want = theirs[alias]
        assert [end.hostname, str(end.port), end.user] == [*want["hostname"], *want["port"], *want["user"]], alias
        keys = [str(alone / key) for key in want["identityfile"] if not re.search(r"\.ssh/id_", key)]
        assert [key for key in end.identity_files if not re.search(r"\.ssh/id_", key)] == keys, alias
        assert ",".join(jump.hostname for jump in end.jumps) == ",".join(want.get("proxyjump", [])), alias
    assert mine["slow"].connect_timeout_s == 33
    assert mine["common"].ssh_args == ("-o", "User=y", "-o", "Port=2203", "-J", "jump1,jump2", "-o", "Port=9")


def ssh_says(words: list[str]) -> dict[str, list[str]]:
    """Return what `ssh -G` makes of a command line."""
    kept = [word for word in words if word != "-tt"]
    done = subprocess.run(["ssh", "-F", "none", "-G", *kept], capture_output=True, text=True, check=True)
    said: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        key, _, value = line.partition(" ")
        said.setdefault(key, []).append(value)
    return said


def test_group_and_host_variables_and_ansible_cfg_count() -> None:
    layout()
    Path("ansible.cfg").write_text(
        "[defaults]\nremote_user = general\nprivate_key_file = /keys/k0\ntimeout = 7\n"
        "[privilege_escalation]\nbecome = yes\n"
    )
    found = {target.alias: target.endpoint for target in find("site")}
    assert (found["web1"].user, found["web9"].user, found["lone"].user) == ("webber", "nine", "general")
    assert "/keys/k0" in found["lone"].identity_files
    assert found["lone"].connect_timeout_s == 7
    assert found["lone"].become is not None
    assert found["lone"].become.user == "root"


def test_command_line_is_below_variables() -> None:
    Path("hosts").write_text("a ansible_user=x ansible_become=no\nb\n")
    a, b = find("hosts", user="me", become=True, become_user="svc", ask_become_pass=True, ask=lambda _prompt: "typed")
    assert (a.endpoint.user, a.endpoint.become, a.secrets.become_password) == ("x", None, None)
    assert b.endpoint.become is not None
    assert (b.endpoint.user, b.endpoint.become.user, b.secrets.become_password) == ("me", "svc", "typed")


def test_passwords_of_every_spelling() -> None:
    Path("hosts").write_text(
        "a ansible_password=p1\nb ansible_ssh_pass=p2\nc ansible_ssh_password=p3\nd ansible_password=1234\n"
        "[all:vars]\nansible_become=yes\n"
        "[x]\na ansible_become_password=b1\nb ansible_become_pass=b2\nc ansible_sudo_pass=b3\n"
    )
    found = {target.alias: (target.secrets.password, target.secrets.become_password) for target in find("hosts")}
    assert found == {"a": ("p1", "b1"), "b": ("p2", "b2"), "c": ("p3", "b3"), "d": ("1234", None)}


def test_aliases_of_one_endpoint_stay_apart() -> None:
    Path("hosts").write_text("a ansible_host=192.0.2.1\nb ansible_host=192.0.2.1\n")
    assert [target.alias for target in find("hosts")] == ["a", "b"]


def test_vault() -> None:
    Path("pass").write_text("open sesame\n")
    vault = [str(BIN / "ansible-vault"), "encrypt_string", "--vault-password-file=pass", "s3cret", "-nansible_password"]
    text = subprocess.run(vault, capture_output=True, text=True, check=True).stdout
    Path("group_vars").mkdir()
    Path("group_vars/all.yml").write_text(text)
    Path("hosts").write_text("a\n")
    (target,) = find("hosts", vault_password_files=("pass",))
    assert target.secrets.password == "s3cret"
    with pytest.raises(NumatuneError, match="vault") as raised:
        find("hosts")
    assert "\n" not in str(raised.value)
    monkey = Options(ask_vault_pass=True)
    if not inventory.secrets.has_terminal():
        with pytest.raises(NumatuneError, match="terminal"):
            targets(["hosts"], None, [], monkey)


@pytest.mark.parametrize(
    ("text", "limit", "words", "says"),
    [
        (None, None, (), "no such inventory"),
        ("all:\n  hosts: [\n", None, (), "parse"),
        ("[web\nx\n", None, (), "parse"),
        ("a\nb\n", "typo", (), "no host"),
        ("a\nb\n", None, ("a", "typo"), "typo: no host, group or pattern"),
        ("a\nb\n", None, ("-x",), "does not begin with"),
        ("a\nb\n", "@gone", (), "limit file"),
    ],
)
def test_what_gives_no_hosts_is_one_line(text: str | None, limit: str | None, words: Sequence[str], says: str) -> None:
    if text is not None:
        Path("hosts.yml").write_text(text)
    with pytest.raises(NumatuneError, match=says) as raised:
        find("hosts.yml", limit, *words)
    assert "\n" not in str(raised.value)


def test_one_bad_source_among_good_ones_is_an_error() -> None:
    layout()
    Path("site/30.yml").write_text("plugin: nowhere.at.all\n")
    with pytest.raises(NumatuneError, match=r"30\.yml"):
        find("site")


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "not installed"),
        ({"release.py": "__version__ = '2.16.3'\n"}, "2.16.3 is too old"),
    ],
)
def test_without_a_usable_ansible_it_is_one_line(
    files: dict[str, str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = Path("site-packages/ansible").absolute()
    package.mkdir(parents=True)
    for name, text in {"__init__.py": "", **files}.items():
        (package / name).write_text(text)
    monkeypatch.syspath_prepend(str(package.parent))
    Path("hosts").write_text("a\n")
    with pytest.raises(NumatuneError, match=f"{says}.*pip install") as raised:
        find("hosts")
    assert str(raised.value).isprintable()


def test_what_ansible_does_not_expect_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("hosts").write_text("a\n")
    Path("ansible.cfg").write_text("[defaults]\nforks = many\n")
    with pytest.raises(NumatuneError, match="'many'") as raised:
        find("hosts")
    assert "Traceback" not in str(raised.value)
    assert str(raised.value).isprintable()
    # One that ends without an answer: its last line is what is told.
    Path("ansible.cfg").write_text("[defaults]\nvars_plugins = plugins\nvars_plugins_enabled = ends\n")
    Path("plugins").mkdir()
    Path("plugins/ends.py").write_text(
        "import os, sys\nfrom ansible.plugins.vars import BaseVarsPlugin\n"
        "class VarsModule(BaseVarsPlugin):\n"
        "    def get_vars(self, *_a, **_b):\n"
        "        sys.stderr.write('Traceback of s3cret\\nthe end\\n')\n"
        "        sys.stderr.flush()\n"
        "        os._exit(9)\n"
    )
    monkeypatch.setenv("ANSIBLE_VARS_ENABLED", "ends")
    with pytest.raises(NumatuneError, match=r"exit 9\): the end$"):
        find("hosts")


def test_a_bad_host_is_refused_alone() -> None:
    Path("hosts").write_text(
        "good\nundefined ansible_host='{{ nowhere }}'\ncontainer ansible_connection=docker\n"
        "su ansible_become=yes ansible_become_method=su\noption ansible_host=-oProxyCommand=x\n"
        "user ansible_user=-x\nport ansible_port=0\n"
        'dashes ansible_host=--\nlines ansible_host=\'{{ "a" ~ "\\\\n" ~ "b" }}\'\nzero ansible_host=\'{{ 1 // 0 }}\'\n'
        "config ansible_ssh_common_args='-F nowhere'\n"
    )
    found = {target.alias: target.refused for target in find("hosts")}
    assert found.pop("good") is None
    wanted = {"undefined": "nowhere", "container": "docker", "su": "sudo only", "option": "not a host name"}
    wanted |= {"dashes": "not a host name", "lines": "not a host name", "zero": "division", "config": "nowhere"}
    for alias, says in wanted.items():
        assert says in str(found[alias])
    assert found["user"] is not None
    assert found["port"] is not None


def test_local_hosts_are_this_machine() -> None:
    target = one("here ansible_connection=local ansible_host=192.0.2.1")
    assert (target.alias, target.endpoint.connection, target.refused) == ("here", "local", None)
    implicit = find("hosts", None, "localhost")
    assert [(each.alias, each.endpoint.connection) for each in implicit] == [("localhost", "local")]


def test_switching_the_check_of_keys_off_is_said_and_not_done() -> None:
    notes: list[str] = []
    target = one(
        "a ansible_ssh_common_args='-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -C'"
        " ansible_host_key_checking=False",
        note=notes.append,
    )
    assert (target.endpoint.strict, target.endpoint.ssh_args) == ("strict", ("-C",))
    assert "/dev/null" not in target.endpoint.known_hosts
    assert sum("checks host keys all the same" in note for note in notes) == 2


def test_proxy_command_needs_the_other_transport() -> None:
    target = one("a ansible_ssh_common_args='-o ProxyCommand=\"ssh -W %h:%p jump\"'")
    assert any("ProxyCommand" in phrase for phrase in target.endpoint.unsupported)
    assert target.endpoint.ssh_args == ("-o", "ProxyCommand=ssh -W %h:%p jump")


def test_ansible_says_nothing_on_stdout(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSIBLE_VERBOSITY", "3")
    notes: list[str] = []
    Path("hosts").write_text("[a-b]\nx\n[web]\nx\n")
    find("hosts", "web:nobody", note=notes.append)
    assert capfd.readouterr() == ("", "")
    assert len(notes) == len(set(notes))
    assert any("nobody" in note for note in notes)
    assert all("\n" not in note and "\x1b" not in note for note in notes)


def test_a_module_of_the_working_directory_is_not_run() -> None:
    for name in ("yaml.py", "ansible.py", "json.py"):
        Path(name).write_text("raise SystemExit('mine')\n")
    assert one("a").alias == "a"


def test_no_secret_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = "Tr0ub4dor"
    target = one(f"a ansible_password={hidden} ansible_become=yes ansible_become_password={hidden}")
    assert target.secrets.password == hidden
    shown = [repr(target), str(target), f"{target!r}", repr([target]), repr(vars(target)), json.dumps(str(target))]

    def fail(*_arguments: object, **_more: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr("numatune.fleet.variables.ssh_config.resolve", fail)
    with pytest.raises(RuntimeError) as raised:
        find("hosts")
    full = traceback.TracebackException.from_exception(raised.value, capture_locals=True)
    ours = [frame for frame in full.stack if frame.filename != __file__]
    assert any("variables.py" in frame.filename for frame in ours)
    shown.extend(str(frame.locals) for frame in ours)
    # What cannot be parsed is a place where Ansible quotes the line.
    Path("hosts").write_text(f"a ansible_password=x {hidden}\n")
    with pytest.raises(NumatuneError) as broken:
        find("hosts")
    shown.append(str(broken.value))
    assert not [text for text in shown if hidden in text]


@pytest.mark.parametrize(
    ("word", "want"),
    [
        ("web1", ("web1", 22, None)),
        ("root@web1:2222", ("web1", 2222, "root")),
        ("[2001:db8::1]:23", ("2001:db8::1", 23, None)),
        ("::1", ("::1", 22, None)),
        ("joe@[::1]", ("::1", 22, "joe")),
    ],
)
def test_words(word: str, want: tuple[str, int, str | None]) -> None:
    (target,) = targets([], None, [word, word], Options(ssh_config=Path("ssh_config")))
    end = target.endpoint
    assert (end.alias, end.hostname, end.port) == (word, *want[:2])
    assert want[2] in (None, end.user)


@pytest.mark.parametrize(
    "word",
    ["-oProxyCommand=x", "a@-b", "-u@a", "@a", "a:", "a:0", "a:99999", "[::1", "::1:zz", "a b", "a/b", "a\n", "é"],
)
def test_bad_words_are_refused_in_one_line(word: str) -> None:
    with pytest.raises(NumatuneError, match=r"a target is \[user@\]host") as raised:
        targets([], None, ["good", word], Options(ssh_config=Path("ssh_config")))
    assert "\n" not in str(raised.value)


def test_words_of_ssh() -> None:
    found = ssh_words.parse("-tt -qC -oUser=a -o 'Port 22' -Jx,y -F cfg -i k1 -ik2 stray -o StrictHostKeyChecking=no")
    assert found.settings == (
        ("compression", "yes"),
        ("user", "a"),
        ("port", "22"),
        ("proxyjump", "x,y"),
        ("identityfile", "k1"),
        ("identityfile", "k2"),
    )
    assert (found.config, found.unchecked, found.odd) == ("cfg", True, "a word that is not an option of ssh")
    assert shlex.join(found.words) == "-t -t -q -C -o User=a -o 'Port 22' -J x,y -F cfg -i k1 -i k2".replace(
        "-o User", "-oUser"
    ).replace("-J x,y", "-Jx,y").replace("-i k2", "-ik2")
