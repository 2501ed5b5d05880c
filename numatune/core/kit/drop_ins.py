"""Files of ours in a folder that the system applies at boot: whose they are, and what stands there now."""

from __future__ import annotations

from ..change import Change, Conflict
from ..model import Line, Snapshot
from ..ours import HEADER
from ..text import lines


def foreign(snapshot: Snapshot, setting: str, path: str) -> tuple[Conflict, ...]:
    """Return the conflict with a file of our name that somebody else wrote, or with a link there."""
    current = snapshot.read(path)
    if path not in snapshot.links and (not current.text or current.text.startswith(HEADER)):
        return ()
    first = next(iter(lines(current.text)), "")
    return (Conflict(setting, path, 1, first, f"{path} exists and is not numatune's: move it away, then run again"),)


def placed(snapshot: Snapshot, setting: str, path: str, text: str, why: str) -> tuple[Change, ...]:
    """Return the change that makes a file of ours hold a text, none where it does."""
    current = snapshot.read(path)
    if current.present and current.text == text:
        return ()
    return (Change(setting, "file", path, text, current.text if current.present else None, why, "0644"),)


def outdone(setting: str, path: str, where: Line) -> Conflict:
    """Return the conflict with a line of another file that would win over ours."""
    message = f"{where.path} line {where.line} would win over {path}: remove {where.text!r} there, then run again"
    return Conflict(setting, where.path, where.line, where.text, message)
