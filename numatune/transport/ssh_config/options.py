"""The options of the `ssh` command, told apart in a list of words as ssh does it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

WITH_VALUE = frozenset("BbcDEeFIiJLlmOoPpQRSWw")
"""Letters of the options that take a value, by OpenSSH's manual page."""


class Option(NamedTuple):
    """One option, or one word that is not an option (`letter` is "" then).

    value: the option's value; None where it takes none, and where the words end before it (`lacks_value`).
    words: how to spell this option alone; of `-vF file` these are `-v` and then `-F file`.
    """

    letter: str
    value: str | None
    words: tuple[str, ...]

    @property
    def lacks_value(self) -> bool:
        """Whether the option takes a value and the words end before it."""
        return self.letter in WITH_VALUE and self.value is None


def options(words: Iterable[str]) -> Iterator[Option]:
    """Yield every option in `words`, and every word that is not an option."""
    rest = iter(words)
    for word in rest:
        if len(word) < 2 or word[0] != "-" or word == "--":
            yield Option("", None, (word,))
            continue
        for place, letter in enumerate(word[1:], 2):
            if letter not in WITH_VALUE:
                yield Option(letter, None, (f"-{letter}",))
                continue
            attached = word[place:]
            value = attached or next(rest, None)
            apart = () if attached or value is None else (value,)
            yield Option(letter, value, (f"-{letter}{attached}", *apart))
            break
