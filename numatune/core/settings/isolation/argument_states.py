"""The states that kernel arguments pass through on a host, and the step that leads out of each.

A state follows from what stands on disk and what runs, never from what a run remembers, so a run may be cut anywhere.
"Runs" has two signs: whether the running kernel has every wanted argument, and whether the default entry does, which
boots unless one boot takes another. The trial is the one-time entry of these very arguments (see `loaders.records`).

| state       | runs | and                                              | what leads out                        |
|-------------|------|--------------------------------------------------|---------------------------------------|
| NEW         | - -  | no trial of them stands                          | tune makes the trial's entry, arms it |
| ARMING      | - -  | its entry stands and is not armed: a run was cut | tune arms it                          |
| ARMED       | - -  | the next boot takes it                           | a reboot                              |
| PASSED_OVER | - -  | the same after a reboot: GRUB did not see it     | tune arms it once more, then a reboot |
| IGNORED     | - -  | the same after two                               | a person; retry                       |
| TRIED       | - -  | GRUB took it, and something else runs            | a person; retry                       |
| TRIAL_HOLDS | + -  | its entry stands                                 | tune makes the arguments permanent    |
| UNSAVED     | + -  | no trial, and never permanent                    | tune makes the arguments permanent    |
| LOST        | + -  | they were permanent: somebody changed that       | tune writes them again                |
| WRITTEN     | - +  | nobody saw the default hold them in another boot | a reboot                              |
| NOT_TAKEN   | - +  | it held them already when this boot began        | a person; any reboot that brings them |
| PERMANENT   | + +  |                                                  | nothing; tune mends what a cut left   |
| UNKNOWN     |      | the default entry could not be read              | a person                              |

"A person" stands only where another boot by itself would be the second one for the same change: the trial panicked or
hung (or was followed by another boot before tune looked, which nothing on disk tells apart), or GRUB starts what is not
looked for here. Where a file's own text is in the way, tune refuses with that line, in any state.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Optional

from ...loaders.records import Armed, Trial, short


class State(Enum):
    """Where the wanted arguments are on their way; the module's table says what each means."""

    NEW = "new"
    ARMING = "arming"
    ARMED = "armed"
    PASSED_OVER = "passed_over"
    IGNORED = "ignored"
    TRIED = "tried"
    TRIAL_HOLDS = "trial_holds"
    UNSAVED = "unsaved"
    LOST = "lost"
    WRITTEN = "written"
    NOT_TAKEN = "not_taken"
    PERMANENT = "permanent"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Facts:
    """What is read: does the running kernel, does the default entry hold the arguments (None: not read)."""

    running: Optional[bool]
    default: Optional[bool]
    here: str = ""
    """The id of the running boot."""
    prepared: bool = False
    """Whether what prints the entry of a trial of these arguments stands, with or without the entry."""
    trial: Optional[Trial] = None
    """The entry that stands for the trial of these arguments, and no others."""
    armed: Optional[Armed] = None
    """What the environment block says was armed."""
    to_come: bool = False
    """Whether the next boot alone takes the trial's entry."""
    held_since: str = ""
    """The boot in which the default entry was seen to hold them."""


def state_of(facts: Facts) -> State:
    """Return the state that the facts come to."""
    if facts.default is None:
        return State.UNKNOWN
    trial = _trial(facts)
    if facts.running:
        if facts.default:
            return State.PERMANENT
        if trial is not State.NEW:
            return State.TRIAL_HOLDS
        return State.LOST if facts.held_since else State.UNSAVED
    if facts.default:
        before = facts.held_since not in ("", facts.here)
        return State.NOT_TAKEN if before and facts.running is False else State.WRITTEN
    return trial


def _trial(facts: Facts) -> State:
    """Return how far the trial came, whatever runs."""
    if facts.trial is None:
        return State.ARMING if facts.prepared else State.NEW
    armed = facts.armed
    # A mark of another entry says nothing of this one.
    if armed is None or armed.first != facts.trial.key:
        return State.ARMED if facts.to_come else State.ARMING
    here = armed.again == short(facts.here) if armed.again else facts.trial.boot_id == facts.here
    if facts.to_come:
        return State.ARMED if here else State.IGNORED if armed.again else State.PASSED_OVER
    # Taken back in the boot in which it was armed, it never was tried.
    return State.ARMING if here else State.TRIED


def mark_of(facts: Facts, trial: Trial) -> str:
    """Return what the environment block is to say of a trial, once it is armed."""
    armed = facts.armed
    if state_of(facts) is State.PASSED_OVER:
        return f"{trial.key}.{short(facts.here)}"
    kept = armed.again if facts.to_come and armed and armed.first == trial.key else ""
    return f"{trial.key}.{kept}" if kept else trial.key
