"""The command line: which commands there are, and how each of them ends.

A command is one module with `configure(parser)` and `run(args) -> exit code`, imported when it is called.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import sys
from typing import NoReturn

from .. import __version__
from ..core.errors import NumatuneError
from .errors import BAD_INPUT, INCOMPLETE, INTERNAL, CliError

COMMANDS = {
    "audit": "judge hosts: which settings cause latency jitter",
    "collect": "save a snapshot of a host, to be judged later",
    "plan": "show what tune.yml would change, and why",
    "settings": "list the settings that are judged",
    "explain": "explain one setting",
    "bench": "run the pinned ResNet-152 and show its latency spikes",
    "probe": "walk over memory for seconds and show whether NUMA balancing disturbs it",
    "watch": "watch a running service: its counters over time, beside the latencies that it logs",
    "show": "show the figures of recorded runs, and what caused their spikes",
    "compare": "decide from runs before and after whether the spikes are gone",
    "report": "one HTML file with runs, their spikes, what caused them, and what was ruled out",
    "pack": "put the recorder and the packages that it needs into a folder, for a target without network",
}

# What somebody types who looks for it here: the playbooks do it.
_PLAYED = {"tune": "tune", "apply": "tune", "fix": "tune", "revert": "revert", "undo": "revert", "rollback": "revert"}
_PLAYED["qualify"] = "qualify"

# What later releases bring is refused by name, so that nobody takes a missing check for a passed one.
_LATER_COMMANDS = ("noise", "certificate", "history", "trend", "diff", "bundle", "completion", "store")
_LATER_FLAGS = {"bench": ("--engine",), **dict.fromkeys(("audit", "collect", "plan"), ("--unit", "--pid"))}


class _Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        raise CliError(f"{message}{self._near(message)} (see `{self.prog} --help`)")

    def _near(self, message: str) -> str:
        """Return what was meant by a flag that there is not."""
        start = "unrecognized arguments: "
        flag = message.removeprefix(start).split(" ")[0].split("=")[0]
        if not message.startswith(start) or not flag.startswith("--"):
            return ""
        near = difflib.get_close_matches(flag, self._option_string_actions, 1)
        return f"; did you mean {near[0]}?" if near else ""


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the documented exit code, never a traceback for what a user can mend."""
    words = sys.argv[1:] if argv is None else argv
    _open_streams()
    try:
        return _run(words)
    except (CliError, NumatuneError) as error:
        _say(str(error))
        return error.code if isinstance(error, CliError) else BAD_INPUT
    except KeyboardInterrupt:
        _say("interrupted: nothing was left half-written")
        return INCOMPLETE
    except BrokenPipeError:
        # The reader went away; keep Python from complaining again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return INCOMPLETE
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _say(f"{where}{error.strerror or error}; free space or check the path, then run again")
        return BAD_INPUT
    except Exception as error:
        if os.environ.get("NUMATUNE_TRACEBACK"):
            raise
        _say(f"internal error: {type(error).__name__}: {error} (NUMATUNE_TRACEBACK=1 shows where; please report it)")
        return INTERNAL


def _open_streams() -> None:
    """Put /dev/null where who started this closed a standard stream: no file or socket is to get its number."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, mode))


def _run(words: list[str]) -> int:
    if words and words[0] in COMMANDS:
        command = words[0]
        _refuse_later(command, words[1:])
        module = importlib.import_module(f".{command}", __name__)
        parser = _Parser(prog=f"numatune {command}", description=COMMANDS[command], allow_abbrev=False)
        module.configure(parser)
        code = int(module.run(parser.parse_args(words[1:])))
        sys.stdout.flush()
        return code
    if words and words[0] in _LATER_COMMANDS:
        raise CliError(f"`numatune {words[0]}` is not in version {__version__}; `numatune --help` lists what is")
    if words in (["--version"], ["-V"]):
        sys.stdout.write(f"numatune {__version__}\n")
        return 0
    if words and words[0] in _PLAYED:
        from .playbooks import command as typed

        play = typed().replace("{}", _PLAYED[words[0]])
        plan = "" if _PLAYED[words[0]] != "tune" else "; `numatune plan` says what tune.yml would change"
        raise CliError(f"a playbook does that: {play}{plan}")
    if words and words[0] == "help":
        return _run([*words[1:2], "--help"])
    if not words or words[0] not in ("-h", "--help"):
        named = f"no command {words[0]!r}" if words else "no command given"
        near = difflib.get_close_matches(words[0], COMMANDS, 1) if words else []
        if near:
            raise CliError(f"{named}; did you mean `numatune {near[0]}`? (see `numatune --help`)")
        raise CliError(f"{named}; there is {', '.join(COMMANDS)} (see `numatune --help`)")
    sys.stdout.write(_help())
    return 0


def _refuse_later(command: str, words: list[str]) -> None:
    for word in words:
        flag = word.split("=")[0]
        if flag in _LATER_FLAGS.get(command, ()):
            raise CliError(f"{command} {flag} is not in version {__version__}")


def _help() -> str:
    lines = "".join(f"  {name:<10}{summary}\n" for name, summary in COMMANDS.items())
    return (
        "usage: numatune COMMAND [ARGUMENTS]\n\n"
        "Find, remove and prove the removal of latency jitter on hosts that serve inference on CPUs.\n\n"
        f"commands:\n{lines}\n"
        "`numatune COMMAND --help` shows a command's arguments.\n"
        "exit codes: 0 done, all ok; 1 findings; 2 bad usage or input; 3 incomplete; 4 internal error\n"
    )


def _say(message: str) -> None:
    # One line, whatever the message holds: terminal escapes of a target must not reach the terminal.
    plain = "".join(sign if sign.isprintable() else " " for sign in message)
    sys.stderr.write(f"numatune: {plain}\n")
