"""sudo on the way: with and without a password, refused in each of its ways, and never given the script for a password.

The sudo here is a stand-in that reads as sudo does; where the real one is installed, it is asked too.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fleet.sshd import Sshd

from numatune.core.collecting.collector import script
from numatune.transport.become import PLAIN, Escalation, command, refusal
from numatune.transport.endpoint import Become, Endpoint, Secrets, Target
from numatune.transport.failure import Failure
from numatune.transport.host_keys.known_hosts import KnownHosts
from numatune.transport.limits import Limits
from numatune.transport.ssh import collect

PASSWORD = "pass word'$(x)"
LIMITS = Limits(auth_s=2, total_s=12)

# As the real one: a prompt on standard error without a line's end, one byte of a password read at a time (dash's `read`
# does), three tries, then the command with what is left of standard input.
_SUDO = r"""#!/bin/sh
home=@HOME@
mode=$(cat "$home/mode")
printf '%s\n' "$*" >>"$home/arguments"
ask= prompt='Password: '
while [ $# -gt 0 ]; do
  case $1 in
    -n) quiet=1;; -S) ask=1;; -p) prompt=$2; shift;; -u) shift;; --) shift; break;;
  esac
  shift
done
case $mode in
  free) exec "$@";;
  requiretty) echo 'sudo: sorry, you must have a tty to run sudo' >&2; exit 1;;
  nobody) echo 'nina is not in the sudoers file.' >&2; exit 1;;
  silent) sleep 30; exit 1;;
  endless) while :; do echo 'sudo: hello' >&2; done;;
  pam) prompt='LDAP Password for nina: ';;
  parrot) printf '%s' "$prompt" >&2; IFS= read -r word; printf 'sudo: what is %s?\n' "$word" >&2; exit 1;;
  lecture) printf 'We trust you have received the usual lecture.\n    #1) Respect\n\n' >&2;;
esac
[ -z "$quiet" ] || { echo 'sudo: a password is required' >&2; exit 1; }
for try in 1 2 3; do
  printf '%s' "$prompt" >&2
  IFS= read -r word || { echo 'sudo: no password was provided' >&2; exit 1; }
  printf '%s\n' "$word" >>"$home/words"
  if [ "$word" = "$(cat "$home/password")" ]; then exec "$@"; fi
  echo 'Sorry, try again.' >&2
done
echo 'sudo: 3 incorrect password attempts' >&2
exit 1
"""


class Sudo:
    """A host whose `sudo` behaves by `mode`; `words` is what it took for passwords."""

    def __init__(self, home: Path, end: Endpoint) -> None:
        self.home = home
        self.end = end

    def mode(self, mode: str) -> None:
        for name in ("words", "arguments"):
            (self.home / name).write_text("")
        (self.home / "mode").write_text(mode)

    @property
    def words(self) -> list[str]:
        return (self.home / "words").read_text().splitlines()

    def collect(self, text: str, password: str | None = PASSWORD) -> str:
        return collect(Target(self.end, Secrets(become_password=password)), text, LIMITS, KnownHosts)

    def failure(self, password: str | None = PASSWORD) -> Failure:
        with pytest.raises(Failure) as caught:
            self.collect(script(), password)
        assert caught.value.message.isprintable()
        assert PASSWORD not in str(caught.value)
        return caught.value


@pytest.fixture(scope="module")
def sudo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sudo]:
    folder = tmp_path_factory.mktemp("sudo")
    tools = folder / "bin"
    tools.mkdir()
    (tools / "sudo").write_text(_SUDO.replace("@HOME@", str(folder)))
    (tools / "sudo").chmod(0o755)
    (folder / "password").write_text(PASSWORD)
    path = f"{tools}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    with Sshd(folder / "sshd", wide=False, lines=[f"SetEnv PATH={path}"]) as server:
        end = Endpoint(
            alias="db1",
            hostname="127.0.0.1",
            port=server.port,
            user=server.user,
            identity_files=(str(server.key),),
            use_agent=False,
            known_hosts=(str(server.known_hosts),),
            become=Become(user="other"),
        )
        yield Sudo(folder, end)


@pytest.mark.parametrize("mode", ["ask", "lecture", "pam", "free"])
def test_the_script_runs_and_only_the_password_is_taken_for_one(sudo: Sudo, mode: str) -> None:
    sudo.mode(mode)
    stream = sudo.collect(script())
    assert stream.startswith("numatune-snapshot 1\n")
    assert stream.endswith("@end\n")
    assert sudo.words == ([] if mode == "free" else [PASSWORD])
    assert PASSWORD not in (sudo.home / "arguments").read_text()


def test_a_wrong_password_is_tried_once_and_no_line_follows_it(sudo: Sudo) -> None:
    for mode in ("ask", "pam"):
        sudo.mode(mode)
        failure = sudo.failure(password="wrong")
        assert failure.phase == "become"
        assert "the password is wrong" in failure.message
        assert sudo.words == ["wrong"]


def test_a_host_that_repeats_the_password_is_quoted_without_it(sudo: Sudo) -> None:
    sudo.mode("parrot")
    assert "sudo: what is ***?" in sudo.failure().message


def test_without_a_password(sudo: Sudo) -> None:
    sudo.mode("free")
    assert sudo.collect(script(), password=None).endswith("@end\n")
    sudo.mode("ask")
    failure = sudo.failure(password=None)
    assert failure.phase == "become"
    assert "--ask-become-pass" in failure.message
    assert sudo.words == []


@pytest.mark.parametrize(("mode", "said"), [("requiretty", "requiretty"), ("nobody", "not in the sudoers file")])
@pytest.mark.parametrize("password", [PASSWORD, None])
def test_refusals_say_what_to_do(sudo: Sudo, mode: str, said: str, password: str | None) -> None:
    sudo.mode(mode)
    failure = sudo.failure(password)
    assert failure.phase == "become"
    assert said in failure.message


@pytest.mark.parametrize(("mode", "phases"), [("silent", ("become", "timeout")), ("endless", ("become", "output"))])
def test_a_sudo_that_never_answers_is_left(sudo: Sudo, mode: str, phases: tuple[str, ...]) -> None:
    sudo.mode(mode)
    started = time.monotonic()
    assert sudo.failure().phase in phases
    assert time.monotonic() - started < LIMITS.auth_s + 3


def test_a_host_without_sudo(sudo: Sudo, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "env"):
        (tools / name).symlink_to(f"/bin/{name}" if Path(f"/bin/{name}").exists() else f"/usr/bin/{name}")
    with Sshd(tmp_path / "bare", wide=False, lines=[f"SetEnv PATH={tools}"]) as server:
        end = replace(
            sudo.end,
            port=server.port,
            identity_files=(str(server.key),),
            known_hosts=(str(server.known_hosts),),
        )
        for password in (None, PASSWORD):
            failure = Sudo(tmp_path, end).failure(password)
            assert failure.phase == "become"
            assert "not installed" in failure.message


def test_a_password_of_two_lines_is_never_sent(sudo: Sudo) -> None:
    sudo.mode("ask")
    assert sudo.failure("one\ntwo").phase == "become"
    assert sudo.words == []


def test_command_lines() -> None:
    assert command(None, "nina") == PLAIN
    assert command(Become(), "root") == PLAIN
    assert command(Become(user="a b;c"), "nina").endswith("-u 'a b;c' -- sh -s")
    with pytest.raises(Failure, match="not supported"):
        command(Become(method="su"), "nina")


def test_prompts_and_markers_are_made_for_each_connection() -> None:
    one, other = Escalation("root"), Escalation("root")
    assert len({one.prompt, other.prompt, one.marker, other.marker}) == 4
    assert one.asked(f"lecture\n{one.prompt}") == 1
    assert one.asked(f"{one.prompt}Sorry, try again.\n{one.prompt}") == 2
    assert other.asked("[sudo] password for nina: ") == 1
    assert other.asked("your password: see the wiki\n") == 0


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ("sudo: a password is required\n", "--ask-become-pass"),
        ("sudo: unknown user: nobody2\n", "does not exist"),
        ("sh: 1: sudo: not found\n", "not installed"),
        ("env: \u2018sudo\u2019: No such file or directory\n", "not installed"),
        ("bash: line 1: sudo: command not found\n", "not installed"),
        ("sudo: \x1b[2Jsomething new\n", "something new"),
        ("sudo: account validation failure, is your account locked?\n", "locked"),
    ],
)
def test_what_sudo_says(errors: str, said: str) -> None:
    failure = refusal(errors, 1, by_sudo=True)
    assert failure is not None
    assert said in failure.message
    assert refusal(errors, 1, by_sudo=False) is None


def test_an_error_of_the_script_is_not_sudos() -> None:
    assert refusal("grep: /proc/x: Permission denied\n", 2, by_sudo=True) is None
