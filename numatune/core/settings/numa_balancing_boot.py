"""What sets kernel.numa_balancing at the next boot: the sysctl files, what applies them, and what comes after."""

from __future__ import annotations

from typing import Optional

from .. import agents, tuned, units
from ..host import Host
from ..model import Line
from ..parsers import sysctl
from ..sources import Directory, File, Source
from ..status import Plane

KEY = "kernel.numa_balancing"
CONF = "/etc/sysctl.conf"
_SYSTEMD = "/run/systemd/system"
# TuneD is none: it applies /etc/sysctl.d again after its own sysctls (reapply_sysctl, the default).
AGENTS = agents.Agents(KEY, (agents.Agent(agents.SAPTUNE), agents.Agent(agents.SAPCONF)))

SOURCES: tuple[Source, ...] = (
    *(File(f"{folder}/*.conf", masks=True) for folder in sysctl.PERSISTENT),
    *(Directory(folder) for folder in sysctl.PERSISTENT),
    File(CONF),
    Directory(_SYSTEMD),
    *units.SOURCES,
    *agents.SOURCES,
)


def _wanted(item: sysctl.Assignment) -> bool:
    return sysctl.integer(item.value) == 0


class Persisted:
    """What the configuration comes to: the plane, the winning line, whether it masks another, and what is not known."""

    def __init__(self, host: Host) -> None:
        snapshot = host.snapshot
        self._host = host
        paths = [path for folder in sysctl.PERSISTENT for path in snapshot.below(folder)]
        order = sysctl.files_in_order(paths)
        self.unread = [reading for reading in map(snapshot.directory, sysctl.PERSISTENT[:-1]) if reading.unread]
        self.excluded = False
        self.unknown = ""
        """Why the outcome is not known though every file was read."""
        self.held = False
        """Whether it is TuneD's line that wins."""
        self.applied = units.applier(snapshot, units.SYSCTL, host.next_boot.arguments)
        found = self._assignments(order)
        # A pattern, wherever it stands, does not reach a key that a line names in full.
        named = [item for item in found if not item.pattern]
        self.found = named if named or self.excluded else found
        self._late = [item for item in named if item.where.path.startswith("/etc/") and item.where.text[:1] != "-"]
        last = self._assignments([CONF])
        self.other_order = self._by_procps(last)
        self._take(last)
        idle = self.applied.plane is Plane.NONE and not self.held
        self.winner = self.found[-1] if self.found and not idle else None
        self.idle = self.found[-1].where if self.found and idle else None
        """A line that nothing would apply."""
        self.masked = bool(self.winner and not _wanted(self.winner) and any(_wanted(item) for item in self.found))

    def _assignments(self, paths: list[str]) -> list[sysctl.Assignment]:
        found: list[sysctl.Assignment] = []
        snapshot = self._host.snapshot
        for path in paths:
            # A link to /dev/null masks the name; it has no text and says nothing.
            if snapshot.links.get(path) == "/dev/null":
                continue
            reading = snapshot.read(path)
            if reading.present:
                found.extend(sysctl.assignments(path, reading.text, KEY))
                self.excluded |= path != CONF and sysctl.excludes(reading.text, KEY)
            elif reading.unread and path != CONF:
                self.unread.append(reading)
        return found

    def _by_procps(self, last: list[sysctl.Assignment]) -> str:
        """Take /etc/sysctl.conf where procps reads it last; systemd knows it as 99-sysctl.conf alone."""
        if not last or _wanted(last[-1]) or (self.found and not _wanted(self.found[-1])):
            return ""
        where = last[-1].where
        if not self._host.snapshot.directory(_SYSTEMD).present and self._host.snapshot.complete:
            self.found.append(last[-1])
        return f"{where.path} line {where.line} sets {last[-1].value} where procps applies it last"

    def _take(self, last: list[sysctl.Assignment]) -> None:
        """Take what comes after the files: TuneD's profile, and what TuneD applies again after that."""
        snapshot = self._host.snapshot
        agent = agents.decides(snapshot, AGENTS)
        if agent:
            self.unknown = agent
        if not agents.unit(snapshot, agents.TUNED).enabled:
            return
        profile = f"TuneD's profile {tuned.profile(snapshot) or '(none is named)'}"
        does = tuned.sysctl(snapshot, KEY)
        again = [*self._late, *(item for item in last if item.where.text[:1] != "-")] if does.again else []
        if not does.known:
            # It applies the files again if it has sysctls at all.
            if not again or _wanted(again[-1]) != bool(self.found and _wanted(self.found[-1])):
                self.unknown = f"{profile} may set it, and was not read whole"
        elif does.applies and again:
            self.found.append(again[-1])
            self.held = True
        elif does.option:
            where = does.option.where
            at = f"{where.path} line {where.line}"
            if does.option.value is None:
                self.unknown = f"{profile} sets it, and what {at} comes to is not known"
            elif not does.chosen:
                self.unknown = (
                    f"{profile} sets it ({at}), but TuneD chooses a profile anew at each start (profile_mode auto)"
                )
            else:
                self.found.append(sysctl.Assignment(does.option.value, where))
                self.held = True
        if self.held and units.shown(snapshot, agents.TUNED).get("ActiveState") == "failed":
            self.unknown = f"{agents.TUNED} failed in this boot, so what it sets is not known"

    @property
    def plane(self) -> Plane:
        """What the next boot comes to, as far as the configuration decides it."""
        if self.unknown:
            return Plane.UNREAD
        if self.winner and not _wanted(self.winner):
            return Plane.WRONG
        if self.unread:
            return Plane.UNREAD
        if self.winner is None:
            return Plane.NONE
        return Plane.RIGHT if self.held or self.applied.plane is Plane.RIGHT else Plane.UNREAD

    @property
    def why(self) -> str:
        """Say why the plane is not known, or why a right line is nothing; "" else."""
        if self.unknown:
            return self.unknown
        if self.idle:
            return f"{self.applied.why}, so nothing applies {self.idle.path}"
        if self.unread and self.plane is Plane.UNREAD:
            return self.unread[0].why()
        return self.applied.why if self.plane is Plane.UNREAD else ""

    @property
    def remedy(self) -> str:
        """Say what would let the files be applied, "" where nothing is in their way."""
        stuck = self.idle is not None or (self.plane is Plane.UNREAD and not self.unknown and not self.unread)
        return self.applied.remedy if stuck else ""

    @property
    def by_tuned(self) -> Optional[Line]:
        """Return the line of TuneD's own profile that wins, None where another one does."""
        where = self.winner.where if self.winner and self.held else None
        return where if where and "/tuned/" in where.path else None
