"""sysctl.d as a keeper: what sets a sysctl at the next boot, and a drop-in of ours that sorts after every other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from ..change import Conflict
from ..host import Host
from ..machine import agents, tuned, units
from ..model import Line
from ..ours import HEADER
from ..parsers import sysctl
from ..setting import Planned
from ..sources import Directory, File, Source
from ..status import Plane
from .drop_ins import foreign, outdone, placed
from .said import Right, Said

CONF = "/etc/sysctl.conf"
_SYSTEMD = "/run/systemd/system"

SYSCTL: tuple[Source, ...] = (
    *(File(f"{folder}/*.conf", masks=True) for folder in sysctl.PERSISTENT),
    *(Directory(folder) for folder in sysctl.PERSISTENT),
    File(CONF),
    Directory(_SYSTEMD),
    *units.SOURCES,
    *agents.SOURCES,
)
"""What sets sysctls at every boot."""


@dataclass(frozen=True)
class SysctlD:
    """One line of sysctl.d, in a file of its own; `comment` is what the file says of it."""

    key: str
    drop_in: str
    comment: str

    @property
    def sources(self) -> tuple[Source, ...]:
        """What it is read from."""
        return SYSCTL

    @property
    def by_hand(self) -> str:
        """What a person writes so that it is kept."""
        return "a file in /etc/sysctl.d"

    @property
    def how(self) -> str:
        """How the file comes to count."""
        return "a file that sorts after every other"

    def said(self, host: Host, right: Right) -> Said:
        """Return what the configuration comes to at the next boot."""
        return _Files(host, self.key, right).said()

    def keep(self, host: Host, setting: str, value: str, why: str, right: Right) -> Planned:
        """Plan the file; what would win over it, or keep it from being applied, is a conflict."""
        files = _Files(host, self.key, right)
        refused = foreign(host.snapshot, setting, self.drop_in) or self.fought(host, setting, value, right)
        refused = refused or self._outdone(setting, files) or units.refusals(setting, files.applied, self.drop_in)
        if refused:
            return (), refused
        text = f"{HEADER}# {self.comment}\n{self.key} = {value}\n"
        return placed(host.snapshot, setting, self.drop_in, text, why), ()

    def doubt(self, host: Host, right: Right) -> str:
        """Say that TuneD may start and set another value, where neither is known."""
        unseen = agents.unseen(host.snapshot, agents.TUNED_ALONE)
        spoils = unseen and _Files(host, self.key, right, starts=True).said().plane in (Plane.WRONG, Plane.UNREAD)
        return unseen if spoils else ""

    def fought(self, host: Host, setting: str, value: str, right: Right) -> tuple[Conflict, ...]:
        """Return the conflict with the line by which TuneD sets another value after every file, or one not known."""
        does = tuned.sysctl(host.snapshot, self.key)
        if not agents.unit(host.snapshot, agents.TUNED).enabled or does.again or does.option is None:
            return ()
        said, where = does.option
        if does.chosen and said is not None and right(said):
            return ()
        at = f"{where.path} line {where.line}"
        message = (
            f"TuneD sets {where.text!r} after every file ({at}): make that {value}, or "
            if does.chosen
            else f"TuneD chooses a profile anew at each start (profile_mode auto), and sets {where.text!r} now ({at}): "
        )
        message += "set reapply_sysctl = 1 in /etc/tuned/tuned-main.conf; then run again"
        return (Conflict(setting, where.path, where.line, where.text, message),)

    def _outdone(self, setting: str, files: _Files) -> tuple[Conflict, ...]:
        winner = files.winner
        if winner is None or winner.pattern or files.right(winner.value):
            return ()
        where = winner.where
        later = where.path.rpartition("/")[2] > self.drop_in.rpartition("/")[2]
        if where.path == CONF or (not files.by_tuned and later):
            return (outdone(setting, self.drop_in, where),)
        return ()


class _Files:
    """What the files come to: the winning line, whether TuneD or nothing applies it, and what is not known.

    With `starts`, TuneD is taken to start at boot.
    """

    def __init__(self, host: Host, key: str, right: Right, starts: bool = False) -> None:
        snapshot = host.snapshot
        self._host, self._key, self.right = host, key, right
        paths = [path for folder in sysctl.PERSISTENT for path in snapshot.below(folder)]
        order = sysctl.files_in_order(paths)
        self._unread = [reading for reading in map(snapshot.directory, sysctl.PERSISTENT[:-1]) if reading.unread]
        self._excluded = False
        self._unknown = ""
        """Why the outcome is not known though every file was read."""
        self._held = False
        """Whether it is TuneD's line that wins."""
        self.applied = units.applier(snapshot, units.SYSCTL, host.next_boot.arguments)
        found = self._assignments(order)
        # A pattern, wherever it stands, does not reach a key that a line names in full.
        named = [item for item in found if not item.pattern]
        self._found = named if named or self._excluded else found
        self._late = [item for item in named if item.where.path.startswith("/etc/") and item.where.text[:1] != "-"]
        last = self._assignments([CONF])
        self._other_order = self._by_procps(last)
        if starts or agents.unit(snapshot, agents.TUNED).enabled:
            self._take(last)
        idle = self.applied.plane is Plane.NONE and not self._held
        self.winner = self._found[-1] if self._found and not idle else None
        self._idle = self._found[-1].where if self._found and idle else None
        """A line that nothing would apply."""

    def _wanted(self, item: sysctl.Assignment) -> bool:
        return self.right(item.value)

    def _assignments(self, paths: list[str]) -> list[sysctl.Assignment]:
        found: list[sysctl.Assignment] = []
        snapshot = self._host.snapshot
        for path in paths:
            # A link to /dev/null masks the name; it has no text and says nothing.
            if snapshot.links.get(path) == "/dev/null":
                continue
            reading = snapshot.read(path)
            if reading.present:
                found.extend(sysctl.assignments(path, reading.text, self._key))
                self._excluded |= path != CONF and sysctl.excludes(reading.text, self._key)
            elif reading.unread and path != CONF:
                self._unread.append(reading)
        return found

    def _by_procps(self, last: list[sysctl.Assignment]) -> str:
        """Take /etc/sysctl.conf where procps reads it last; systemd knows it as 99-sysctl.conf alone."""
        if not last or self._wanted(last[-1]) or (self._found and not self._wanted(self._found[-1])):
            return ""
        where = last[-1].where
        if not self._host.snapshot.directory(_SYSTEMD).present and self._host.snapshot.complete:
            self._found.append(last[-1])
        return f"{where.path} line {where.line} sets {last[-1].value} where procps applies it last"

    def _take(self, last: list[sysctl.Assignment]) -> None:
        """Take what comes after the files: TuneD's profile, and what TuneD applies again after that."""
        snapshot = self._host.snapshot
        profile = f"TuneD's profile {tuned.profile(snapshot) or '(none is named)'}"
        does = tuned.sysctl(snapshot, self._key)
        again = [*self._late, *(item for item in last if item.where.text[:1] != "-")] if does.again else []
        if not does.known:
            # It applies the files again if it has sysctls at all.
            if not again or self._wanted(again[-1]) != bool(self._found and self._wanted(self._found[-1])):
                self._unknown = f"{profile} may set it, and was not read whole"
        elif does.applies and again:
            self._found.append(again[-1])
            self._held = True
        elif does.option:
            where = does.option.where
            at = f"{where.path} line {where.line}"
            if does.option.value is None:
                self._unknown = f"{profile} sets it, and what {at} comes to is not known"
            elif not does.chosen:
                self._unknown = (
                    f"{profile} sets it ({at}), but TuneD chooses a profile anew at each start (profile_mode auto)"
                )
            else:
                self._found.append(sysctl.Assignment(does.option.value, where))
                self._held = True
        if self._held and units.shown(snapshot, agents.TUNED).get("ActiveState") == "failed":
            self._unknown = f"{agents.TUNED} failed in this boot, so what it sets is not known"

    def said(self) -> Said:
        """Return what the files come to."""
        plane, winner = self._plane(), self.winner
        stuck = self._idle is not None or (plane is Plane.UNREAD and not self._unknown and not self._unread)
        by_tuned = self.by_tuned
        return Said(
            plane,
            None if winner is None else winner.value,
            None if winner is None else winner.where,
            self._why(plane),
            bool(winner and not self._wanted(winner) and any(map(self._wanted, self._found))),
            f"TuneD ({by_tuned.path} line {by_tuned.line})" if by_tuned else "",
            self._other_order,
            self.applied.remedy if stuck else "",
        )

    def _plane(self) -> Plane:
        if self._unknown:
            return Plane.UNREAD
        if self.winner and not self._wanted(self.winner):
            return Plane.WRONG
        if self._unread:
            return Plane.UNREAD
        if self.winner is None:
            return Plane.NONE
        return Plane.RIGHT if self._held or self.applied.plane is Plane.RIGHT else Plane.UNREAD

    def _why(self, plane: Plane) -> str:
        if self._unknown:
            return self._unknown
        if self._idle:
            return f"{self.applied.why}, so nothing applies {self._idle.path}"
        if self._unread and plane is Plane.UNREAD:
            return self._unread[0].why()
        return self.applied.why if plane is Plane.UNREAD else ""

    @property
    def by_tuned(self) -> Optional[Line]:
        """Return the line of TuneD's own profile that wins, None where another one does."""
        where = self.winner.where if self.winner and self._held else None
        return where if where and "/tuned/" in where.path else None
