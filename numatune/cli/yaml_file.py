"""A YAML file that a user names: its content, or one line that says what is wrong with it and where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .errors import CliError


def load(path: Path, advice: str) -> Any:
    """Return what the file holds, None where it is empty; CliError for a file that cannot be read or is not YAML.

    A key that stands twice in one mapping is refused: YAML's libraries take the last one, and what the first one said
    would be forgotten without a word. `advice` says what to do about a file that cannot be read.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """The safe loader, which takes each key of a mapping once."""

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader)
    except OSError as error:
        raise CliError(f"{path}: {error.strerror}; {advice}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        if isinstance(error, _TwiceError):
            raise CliError(f"{path} line {error.line}: {error.key} stands twice here; keep one of them") from None
        raise CliError(f"{path}{where}: not YAML: {getattr(error, 'problem', None) or error}") from None


class _TwiceError(ValueError):
    def __init__(self, key: str, line: int) -> None:
        super().__init__(key)
        self.key, self.line = key, line


def _mapping(loader: Any, node: Any) -> dict[Any, Any]:
    seen: set[str] = set()
    for key, _value in node.value:
        word = str(key.value)
        if word in seen and key.tag != "tag:yaml.org,2002:merge":
            raise _TwiceError(word[:60], key.start_mark.line + 1)
        seen.add(word)
    loader.flatten_mapping(node)
    found: dict[Any, Any] = loader.construct_mapping(node, deep=True)
    return found
