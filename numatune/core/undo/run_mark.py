"""The mark of a run: that a playbook began to change a host, and whether it took the host out of service.

The journal (core.undo.journal) knows what each transaction changed. It does not know the run that makes them, which may
be cut between two settings or after the drain hook. This file on the host does, one JSON object at `PATH`,
`numatune/run/1`:

    {"schema": "numatune/run/1", "playbook": "tune | qualify", "began": "…Z",
     "drained": "…Z" or null, "done": ["numa_balancing"], "ended": null or one of OUTCOMES, "at": null or "…Z"}

It is written before the drain hook is called, so that no cut can fall between the two, and removed once the undrain
hook was called. `drained` is when the hook was first called since the host last served; null where no hook was given.
A run that ends and leaves the host out of service, as it waits for a reboot, or as the run looked at some settings
alone or had no undrain hook, keeps the mark and says in which state it `ended`. So a mark without `ended` is that of
a run that was cut, or is under way.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Optional

from ..errors import NumatuneError

PATH = "/var/lib/numatune/run.json"
SCHEMA = "numatune/run/1"
PLAYBOOKS = ("tune", "qualify")
OUTCOMES = ("failed", "pending_reboot", "tuned", "incomplete", "qualified", "reverted")
LIMIT = 4096
"""Characters; a mark with every setting has some 300."""
UNDOES = "undoes all that numatune changed on this host"
"""What revert.yml does by itself, in the words of every place that advises it: back to before the first change."""
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_WORD = re.compile(r"[a-z_]{1,40}")


class MarkError(NumatuneError):
    """A mark that numatune did not write so; one line that says which file and what to do."""


@dataclass(frozen=True)
class Mark:
    """One run on one host; times are UTC in ISO form, `done` names settings in the order in which they were changed."""

    playbook: str
    began: str
    drained: Optional[str] = None
    done: tuple[str, ...] = ()
    ended: Optional[str] = None
    at: Optional[str] = None

    def as_dict(self) -> dict[str, Any]:
        """Return the mark without its schema."""
        return {**vars(self), "done": list(self.done)}


def dump(mark: Mark) -> str:
    """Return the text of the file."""
    return json.dumps({"schema": SCHEMA, **mark.as_dict()}, indent=1) + "\n"


def load(text: str) -> Mark:
    """Read a mark; raises MarkError for anything but what `dump` writes."""
    if len(text) > LIMIT:
        raise odd("it is too long")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise odd("it is no JSON") from None
    if not isinstance(data, dict) or data.pop("schema", None) != SCHEMA:
        raise odd(f"it is not {SCHEMA}")
    if set(data) != set(vars(Mark("", ""))) or not isinstance(data["done"], list):
        raise odd("its keys are others")
    times = [data["began"], *(data[key] for key in ("drained", "at") if data[key] is not None)]
    words = [*data["done"], *([data["ended"]] if data["ended"] is not None else [])]
    if not all(isinstance(item, str) and _TIME.fullmatch(item) for item in times):
        raise odd("a time in it is none")
    if data["playbook"] not in PLAYBOOKS or not all(isinstance(item, str) and _WORD.fullmatch(item) for item in words):
        raise odd("a word in it is not numatune's")
    if (data["ended"] is None) != (data["at"] is None) or (data["ended"] and not data["drained"]):
        raise odd("what it says of the end does not fit")
    return Mark(**{**data, "done": tuple(data["done"])})


def odd(why: str) -> MarkError:
    """Return the error for what stands at the mark's place and is none."""
    return MarkError(
        f"{PATH} is not what numatune writes ({why}): whether a run was cut, and whether this host is out of service, "
        "is not known; look at both, then remove that file"
    )


def begin(playbook: str, old: Optional[Mark], drains: bool, now: str) -> Mark:
    """Return the mark of a run that begins, where `old` may be that of one that was cut."""
    drained = old.drained if old is not None else None
    # What a run that was cut had done is still part of what is to be finished or undone.
    done = old.done if old is not None and old.ended is None else ()
    return Mark(playbook, now, drained or (now if drains else None), done)


def said(mark: Mark) -> str:
    """Return what an audit says of a mark, in one line."""
    run = f"playbooks/{mark.playbook}.yml"
    undo = f"or playbooks/revert.yml, which {UNDOES}" + (" and puts the host back into service" if mark.drained else "")
    if mark.ended is not None:
        hooked = "with numatune_undrain_tasks"
        back = {
            "pending_reboot": f"after the reboot run {run} again, which puts it back, {undo}",
            "failed": f"mend what failed, then run {run} again, which puts it back, {undo}",
            "reverted": f"run playbooks/revert.yml again {hooked}, which puts it back",
        }.get(mark.ended, f"run {run} again {hooked} and without --tags and --skip-tags, which puts it back, {undo}")
        by = "revert" if mark.ended == "reverted" else mark.playbook
        return (
            f"this host is out of service since {mark.drained}: {by}.yml ended there with {mark.ended} "
            f"({mark.at}); {back}; if it serves again already, remove {PATH}"
        )
    came = f"changed {', '.join(mark.done)}" if mark.done else "changed nothing yet"
    service = f"; the host is out of service since {mark.drained}" if mark.drained else ""
    return (
        f"a run of {mark.playbook}.yml was interrupted, unless it is still under way: it began at {mark.began} and "
        f"{came}{service}; run {run}, which finishes it, {undo}"
    )
