"""Results of parsers kept for the texts that most hosts of a fleet share: a distribution's own short files."""

from __future__ import annotations

from functools import lru_cache, wraps
from typing import Any, Callable, TypeVar

_Parser = TypeVar("_Parser", bound=Callable[..., Any])

# A host is not trusted: kept is neither what is long nor what has many results, each of which is larger than its line.
_RESULTS = 256
_CHARACTERS = 4096
_MOST = 16


def kept_for_short(parser: _Parser) -> _Parser:
    """Keep the results of a pure function of strings (never None), where texts and results are few and short.

    Nobody may change a result.
    """

    @lru_cache(_RESULTS)
    def remembered(*texts: str) -> Any:
        result = parser(*texts)
        return None if isinstance(result, tuple) and len(result) > _MOST else result

    @wraps(parser)
    def chosen(*texts: str) -> Any:
        result = remembered(*texts) if sum(map(len, texts)) <= _CHARACTERS else None
        return parser(*texts) if result is None else result

    return chosen  # type: ignore[return-value]  # Python 3.9 cannot say "with the same parameters"
