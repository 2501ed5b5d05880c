"""In which order the launches of both sides were measured: what else changed meanwhile counts as the change does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .run import Run

IN_TURNS, ONE_AFTER_THE_OTHER, ACROSS_A_REBOOT = "in turns", "one after the other", "across a reboot"

_REBOOTED = "unrandomised: a reboot lies between the sides, and what else it changed counts too"
_ONE_AFTER_THE_OTHER = (
    "the sides were measured one after the other, not in turns: what else changed meanwhile counts too; where the "
    "change needs no reboot, measure before, after, before, after"
)


@dataclass(frozen=True)
class Order:
    """`sequence` has a letter for each launch in the order of their starts, A before and B after the change.

    `randomised` is False where all launches of one side came first: what drifts with time is then on one side only.
    """

    kind: str
    sequence: str
    randomised: bool
    remarks: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "remarks"}


def order_of(before: Sequence[Run], after: Sequence[Run]) -> Order:
    """The order, with sentences on what it does not show."""
    sides = [(run.started, "A") for run in before] + [(run.started, "B") for run in after]
    sequence = "".join(side for _started, side in sorted(sides))
    turns = sequence.count("AB") + sequence.count("BA")
    if turns > 1:
        return Order(IN_TURNS, sequence, True)
    rebooted = _rebooted(before, after)
    said = [_REBOOTED if rebooted else _ONE_AFTER_THE_OTHER]
    if sequence.startswith("B"):
        said.append("every run after the change started before those from before it: were the sides swapped?")
    return Order(ACROSS_A_REBOOT if rebooted else ONE_AFTER_THE_OTHER, sequence, False, tuple(said))


def _rebooted(before: Sequence[Run], after: Sequence[Run]) -> bool:
    """Whether no boot of the one side is a boot of the other; False where a result does not say its boot."""
    first, second = ({run.environment.get("boot_id") for run in side} for side in (before, after))
    return None not in first | second and not first & second
