"""What numatune writes down of kernel arguments, so that what became of them is read from the disk alone.

Two pairs, each of a record that comes before and one that comes after; only where both name one boot was that reached.

- **The trial.** Its entry says in a comment in which boot it was made, and what it tries. The variable `numatune_trial`
  of GRUB's environment block says which entry was armed; it is set in the very write that sets `next_entry`, and GRUB,
  which takes `next_entry` back, leaves it. So an entry without that variable was never armed.
- **The default entry.** The note of the owned arguments is written before any entry holds them and says in which boot;
  a second note is written after the default entry does. So while the second is missing, or names another boot, nobody
  knows since when the default entry holds them: update-grub may have made it from a run that was cut.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Optional

from ..change import Change
from ..model import Snapshot
from ..ours import HEADER
from ..text import lines as lines_of
from . import loader
from .arguments import held, join
from .next_boot import next_boot

MARK = "numatune_trial"
"""The variable that says which trial was armed: "TRIAL", or "TRIAL.BOOT" where it was armed again in a later boot."""

_TRIAL = re.compile(r"^# numatune-trial boot=(\S*) arguments=(.*)$", re.M)
_WRITTEN = re.compile(r"^# written in boot=(\S+)$", re.M)


@dataclass(frozen=True)
class Trial:
    """A one-time entry that stands on disk: the boot that it was made in, and the arguments that it tries."""

    boot_id: str
    arguments: str

    @property
    def key(self) -> str:
        """Return the few characters by which the environment block names this trial."""
        return short(f"{self.boot_id} {self.arguments}")


@dataclass(frozen=True)
class Armed:
    """What the environment block says was armed: which trial, and the boot in which it was armed a second time."""

    first: str
    again: str


def short(name: str) -> str:
    """Return eight characters that stand for a name: the environment block has room for no more."""
    return hashlib.sha256(name.encode()).hexdigest()[:8]


def owned(snapshot: Snapshot) -> tuple[str, ...]:
    """Return the arguments that the note says numatune has put into the entries."""
    lines = lines_of(snapshot.read(loader.OWNED).text)
    return tuple(word for line in lines if not line.startswith("#") for word in line.split())


def covers(snapshot: Snapshot, wanted: Mapping[str, str]) -> bool:
    """Return whether all of the arguments are numatune's."""
    return set(join(wanted).split()) <= set(owned(snapshot))


def held_since(snapshot: Snapshot, wanted: Mapping[str, str]) -> str:
    """Return the boot in which the default entry was seen to hold the arguments, "" where nobody looked."""
    notes = [_WRITTEN.search(snapshot.read(path).text) for path in (loader.OWNED, loader.HELD)]
    boots = {found[1] if found else "" for found in notes}
    return boots.pop() if len(boots) == 1 and covers(snapshot, wanted) else ""


def noted(snapshot: Snapshot, wanted: Mapping[str, str], made: Iterable[Change]) -> tuple[Change, ...]:
    """Return the changes with the notes in their places.

    The first comes before any entry holds what it names, so that a run which is cut loses sight of no argument; but
    after no entry holds any more what it forgets.
    """
    if not wanted:
        gone = [change for path in (loader.HELD, loader.OWNED) for change in _note(snapshot, path, None)]
        return (*made, *gone)
    default = next_boot(snapshot, once=False).arguments
    holds = default is not None and held(default, wanted)
    boot = held_since(snapshot, wanted) if holds else ""
    first, second = notes(snapshot, wanted, boot)
    forgets = set(owned(snapshot)) - set(join(wanted).split())
    return (*made, *first, *second) if forgets else (*first, *made, *second)


def notes(snapshot: Snapshot, wanted: Mapping[str, str], boot: str = "") -> tuple[list[Change], list[Change]]:
    """Return the changes of the first and of the second note, by default written in this boot."""
    since = f"# written in boot={boot or loader.boot_id(snapshot)}\n"
    first = f"{HEADER}# The kernel arguments that numatune keeps in the boot entries.\n{since}{join(wanted)}\n"
    second = f"{HEADER}# The default boot entry holds the kernel arguments beside this.\n{since}"
    return _note(snapshot, loader.OWNED, first), _note(snapshot, loader.HELD, second)


def _note(snapshot: Snapshot, path: str, text: Optional[str]) -> list[Change]:
    why = "which arguments are numatune's" if path == loader.OWNED else "since when the default entry holds them"
    return loader.file_change(snapshot, path, text, why)


def trial_mark(boot_id: str, wanted: Mapping[str, str]) -> str:
    """Return the comment by which a trial entry is known again."""
    return f"# numatune-trial boot={boot_id} arguments={join(wanted)}"


def trial_of(snapshot: Snapshot, path: str) -> Optional[Trial]:
    """Return the trial that a file holds, None where there is none."""
    found = _TRIAL.search(snapshot.read(path).text)
    return Trial(found[1], found[2]) if found else None


def armed(snapshot: Snapshot, environment: str) -> Optional[Armed]:
    """Return which trial was armed last, None for none."""
    first, _, again = (loader.variable(snapshot, environment, MARK) or "").partition(".")
    return Armed(first, again) if first else None


def arm(snapshot: Snapshot, environment: str, ident: str, mark: str) -> tuple[Change, ...]:
    """Return the changes that make the next boot alone take an entry: the engine makes them in one write.

    Going back, the mark goes first: an entry that is booted without it is only tried again.
    """
    why = "the next boot alone takes the new entry; the one after it takes the default"
    marked = _variable(snapshot, environment, MARK, mark, "which entry it is")
    return (*marked, *_variable(snapshot, environment, "next_entry", ident, why))


def disarm(snapshot: Snapshot, environment: str, ident: str) -> tuple[Change, ...]:
    """Return the changes that take the one-time boot back, and forget that there was one."""
    found = _variable(snapshot, environment, MARK, None, "no trial is left")
    if loader.variable(snapshot, environment, "next_entry") == ident:
        found = (*found, *_variable(snapshot, environment, "next_entry", None, "no trial is left"))
    return found


def _variable(snapshot: Snapshot, path: str, name: str, value: Optional[str], why: str) -> tuple[Change, ...]:
    now = loader.variable(snapshot, path, name)
    if now == value:
        return ()
    return (Change(loader.SETTING, "once", f"{path}:{name}", value, now, why, needs_reboot=value is not None),)
