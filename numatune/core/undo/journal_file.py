"""The text of a generation's file: written whole, and read as something that may be cut, edited or hostile.

One JSON file per generation, `numatune/journal/3`:

    {"schema": "numatune/journal/3", "generation": 1, "state": STATE,
     "boot_id": "…", "recorded": "…Z", "completed": "…Z" or null, "reverted": "…Z" or null,
     "entries": [{"setting": "numa_balancing", "kind": KIND, "path": "/etc/…", "before": SEEN, "after": SEEN,
                  "back": false}]}

STATE is one of core.undo.journal.STATES. KIND is one of a change's kinds (core.change.Change), or "directory" for one
that had to be made. SEEN is what stood at a path: {"state": "absent | file | link | directory | other"}, for a file its
"content" (base64), "sha256", "mode", "uid", "gid", security "label" and "xattrs" (name -> base64) as far as they are
known, for a link its target as content. A variable of GRUB's environment block ("once") that is absent has an empty
content where the block itself was not there. A later version of the format gets a new schema name; an unknown one is
refused, never guessed at. (Version 1 knew three kinds, version 2 neither "reverting" nor "xattrs"; both are read.)
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import replace
from typing import Any, Optional

from .journal import KINDS, SEEN_STATES, STATES, Entry, Generation, JournalError, Seen, file_name

SCHEMA = "numatune/journal/3"
_READ = ("numatune/journal/1", "numatune/journal/2", SCHEMA)
_UNIT = re.compile(r"[A-Za-z0-9@._:\\-]+\.(?:service|slice)")
_MODE = re.compile(r"[0-7]{3,4}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_IDS = (1 << 32) - 1
"""The kernel's user and group ids are below this; it stands for none."""
_NUMBERS = 10**9
_BEFORE = {"directory": ("absent",), "service": ("file",)}


def dump(generation: Generation) -> str:
    """Return a generation as the text of its file."""
    entries = [
        {
            "setting": entry.setting,
            "kind": entry.kind,
            "path": entry.path,
            "before": _dump_seen(entry.before),
            "after": _dump_seen(entry.after),
            "back": entry.back,
        }
        for entry in generation.entries
    ]
    document = {
        "schema": SCHEMA,
        "generation": generation.number,
        "state": generation.state,
        "boot_id": generation.boot_id,
        "recorded": generation.recorded,
        "completed": generation.completed,
        "reverted": generation.reverted,
        "entries": entries,
    }
    return json.dumps(document, indent=1) + "\n"


def load(text: str, name: str) -> Generation:
    """Read a generation; `name` is the file that the one-line error names."""
    try:
        data = json.loads(text)
        if not isinstance(data, dict):
            raise TypeError("no object")
        if data.get("schema") not in _READ:
            raise JournalError(
                f"{name}: schema {str(data.get('schema'))[:40]!r} is not {SCHEMA}: use the version of "
                "numatune that wrote it; nothing was changed"
            )
        generation = Generation(
            number=_natural(data["generation"], _NUMBERS),
            state=_one_of(data["state"], STATES),
            boot_id=_typed(data["boot_id"], str),
            recorded=_typed(data["recorded"], str),
            entries=tuple(_load_entry(item) for item in _typed(data["entries"], list)),
            completed=_optional(data.get("completed"), str),
            reverted=_optional(data.get("reverted"), str),
        )
        if name.rsplit("/", 1)[-1] != file_name(generation.number):
            raise ValueError(f"it says generation {generation.number}")
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        what = f"{type(error).__name__}: {ascii(str(error))[1:-1][:80]}"
        raise JournalError(
            f"{name}: the journal is damaged ({what}): nothing was changed; undo by hand with the -undo.txt "
            "beside it, then move both away"
        ) from None
    return generation


def _dump_seen(seen: Seen) -> dict[str, Any]:
    data: dict[str, Any] = {"state": seen.state}
    if seen.content is not None:
        data["content"] = base64.b64encode(seen.content).decode()
    known = {"sha256": seen.digest, "mode": seen.mode, "uid": seen.uid, "gid": seen.gid, "label": seen.label}
    data.update({key: value for key, value in known.items() if value is not None})
    if seen.xattrs is not None:
        data["xattrs"] = {name: base64.b64encode(value).decode() for name, value in seen.xattrs}
    return data


def _load_seen(data: Any) -> Seen:
    content, xattrs = _optional(data.get("content"), str), _optional(data.get("xattrs"), dict)
    seen = Seen(
        state=_one_of(data["state"], SEEN_STATES),
        content=None if content is None else _bytes(content),
        sha256=_matching(data.get("sha256"), _SHA256),
        mode=_matching(data.get("mode"), _MODE),
        uid=_natural(data["uid"], _IDS) if data.get("uid") is not None else None,
        gid=_natural(data["gid"], _IDS) if data.get("gid") is not None else None,
        label=_optional(data.get("label"), str),
        xattrs=None if xattrs is None else tuple((_name(key), _bytes(item)) for key, item in sorted(xattrs.items())),
    )
    if seen.state == "link":
        _path(_typed(content, str) and (seen.content or b"").decode("utf-8", "surrogateescape"))
    if seen.content is None:
        return seen
    if seen.sha256 != seen.digest:
        raise ValueError("the content is not what its sha256 says")
    return replace(seen, sha256=None)


def _load_entry(data: Any) -> Entry:
    entry = Entry(
        setting=_typed(data["setting"], str),
        kind=_one_of(data["kind"], KINDS),
        path=_path(data["path"]),
        before=_load_seen(data["before"]),
        after=_load_seen(data["after"]),
        back=_typed(data["back"], bool),
    )
    parts = entry.path.split("/")
    named = _UNIT.fullmatch(entry.path) if entry.kind == "service" else not parts[0] and len(parts) > 1
    if not named or any(part in ("", ".", "..") for part in parts[1:]):
        raise ValueError(f"path {entry.path[:60]!r}")
    _one_of(entry.before.state, _BEFORE.get(entry.kind, ("absent", "file", "link")))
    if entry.before.state == "file" and entry.before.content is None:
        raise ValueError(f"no content for {entry.path[:60]!r}")
    if entry.kind == "once":
        (entry.before.content or b"").decode()
    return entry


def _path(value: Any) -> str:
    """Check that the kernel can take a name: not empty, no NUL."""
    if not _typed(value, str) or "\0" in value:
        raise ValueError(f"path {str(value)[:40]!r}")
    return str(value)


def _name(value: str) -> str:
    if "." not in _path(value):
        raise ValueError(f"extended attribute {value[:40]!r}")
    return value


def _bytes(value: Any) -> bytes:
    try:
        return base64.b64decode(_typed(value, str), validate=True)
    except binascii.Error as error:
        raise ValueError(f"content: {error}") from None


def _natural(value: Any, limit: int) -> int:
    if not 0 <= _typed(value, int) < limit:
        raise ValueError("a number is out of range")
    return int(value)


def _matching(value: Any, pattern: re.Pattern[str]) -> Optional[str]:
    if value is not None and not pattern.fullmatch(_typed(value, str)):
        raise ValueError(f"{value[:40]!r} is not what is wanted there")
    return None if value is None else str(value)


def _typed(value: Any, kind: type) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{str(value)[:40]!r} is no {kind.__name__}")
    if isinstance(value, str):
        # A lone surrogate is no text; those that stand for the bytes of a file's name are.
        value.encode("utf-8", "surrogateescape")
    return value


def _optional(value: Any, kind: type) -> Any:
    return None if value is None else _typed(value, kind)


def _one_of(value: Any, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise ValueError(f"{str(value)[:40]!r} is none of {', '.join(choices)}")
    return str(value)
