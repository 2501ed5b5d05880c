"""Results of parsers kept for the texts that most hosts of a fleet share: a distribution's own short files."""

from __future__ import annotations

from functools import lru_cache, wraps
from typing import Any, Callable, TypeVar

_Parser = TypeVar("_Parser", bound=Callable[..., Any])

# A host is not trusted: what it makes us keep is a megabyte for each parser at most.
_RESULTS = 256
_CHARACTERS = 4096


def kept_for_short(parser: _Parser) -> _Parser:
    """Keep the results of a pure function of strings, where these are short together; nobody may change a result."""
    remembered = lru_cache(_RESULTS)(parser)

    @wraps(parser)
    def chosen(*texts: str) -> Any:
        return remembered(*texts) if sum(map(len, texts)) <= _CHARACTERS else parser(*texts)

    return chosen  # type: ignore[return-value]  # Python 3.9 cannot say "with the same parameters"
