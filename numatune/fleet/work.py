"""What a worker makes of a host's stream, in its own process, so that only a small result travels."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple

from ..core import withheld
from ..core.audit import judge
from ..core.collecting.snapshot import parse_stream
from ..core.errors import InputError, NumatuneError
from ..core.host_status import PROFILE
from ..core.model import Severity, Snapshot
from ..core.plan import make_plan
from ..core.wanted import Profile
from ..core.wording import plan_spelled, report_spelled
from ..transport.failure import Failure
from ..transport.output_memory import TEXT

KINDS = ("judge", "collect", "plan")
MOST_LINES = 400_000
"""A host with 512 CPUs prints a tenth of this. A line costs 60 bytes of memory however short it is."""

# Of a file that is listed: its path, its place in a dictionary, its lines.
_ENTRY = 200

_LEVEL = 6  # 9 takes 1.6 times as long to save 1.5 %


class Made(NamedTuple):
    """The result of one host: its status (see `events.Done`) and the bytes that go to the parent."""

    status: str
    payload: bytes


@dataclass(frozen=True)
class Work:
    """What is made of each stream; it pickles.

    | kind | payload | status |
    |---|---|---|
    | judge | compact JSON of the host as the audit's JSON has it, name included | ok, findings, incomplete |
    | collect | the stream, gzip'ed without a time, so that equal streams make equal bytes | ok |
    | plan | compact JSON: name, and `Plan.as_dict()` | ok, changes (something to change, or a conflict) |

    `profile` and `today` are needed by judge and plan; `profiles` has the profiles of hosts that are judged by another
    one, by alias, and `playbook` is how remedies name one (see `core.wording`). The JSON of an audited host names its
    profile where that has another name than the run's. Raises ValueError for another kind.
    """

    kind: str
    profile: Profile | None = None
    today: date | None = None
    fail_on: Severity = Severity.WARNING
    require: tuple[str, ...] | None = None
    only: tuple[str, ...] | None = None
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    playbook: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no work named {self.kind!r}; there is {', '.join(KINDS)}")
        if self.kind != "collect" and (self.profile is None or self.today is None):
            raise ValueError(f"{self.kind} needs a profile and a day")

    def make(self, alias: str, stream: str) -> Made:
        """Make the result of one host; what is wrong is a Failure: of the stream "parse", "output" or "exec"."""
        if stream.count("\n") > MOST_LINES:
            raise Failure("output", f"more than {MOST_LINES} lines, which no host's snapshot has: look at the host")
        try:
            snapshot = parse_stream(stream)
            if self.kind == "collect":
                kept = withheld.stream(stream).encode("utf-8", "backslashreplace")
                return Made("ok", gzip.compress(kept, _LEVEL, mtime=0))
            return self._judge(alias, snapshot) if self.kind == "judge" else self._plan(alias, snapshot)
        except InputError as error:
            raise Failure(PROFILE, f"the profile does not fit this host: {error}") from None
        except NumatuneError as error:
            # The script itself ended there: it names a program that the host lacks.
            lacks = stream.rstrip("\n").rpartition("\n")[2].startswith("@missing ")
            raise Failure("exec" if lacks else "parse", str(error)) from None
        except Exception as error:
            raise Failure("parse", internal(error, "save its snapshot with `numatune collect` and report it")) from None

    def _judge(self, alias: str, snapshot: Snapshot) -> Made:
        assert self.today is not None
        profile = self._profile(alias)
        report = judge(snapshot, profile, self.today, self.fail_on, self.require)
        named = {} if self.profile is None or profile.name == self.profile.name else {"profile": profile.name}
        report = report_spelled(report, self.playbook)
        return Made(report.status, _compact({"name": alias, "error": None, **named, **report.as_dict()}))

    def _plan(self, alias: str, snapshot: Snapshot) -> Made:
        assert self.today is not None
        plan = plan_spelled(make_plan(snapshot, self._profile(alias), self.today, self.only), self.playbook)
        status = "changes" if plan.changes or plan.conflicts else "ok"
        return Made(status, _compact({"name": alias, **plan.as_dict()}))

    def _profile(self, alias: str) -> Profile:
        profile = self.profiles.get(alias, self.profile)
        assert profile is not None
        return profile


def weight(stream: str) -> int:
    """Return about how many bytes of memory the work on a stream takes.

    A few lines of it may list many files: `w NAMES…`, then `t FOLDER` for each folder that has them all.
    """
    lists = 0
    for piece in stream.split("\nw ")[1:]:
        names = piece.count(" ", 0, max(0, piece.find("\n"))) + 1
        lists += names * piece.count("\nt /")
    return TEXT * len(stream) + _ENTRY * lists


def internal(error: BaseException, advice: str) -> str:
    """Say where numatune itself failed; never the exception's own text, which may hold a secret or a target's bytes."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = "" if trace is None else f" in {trace.tb_frame.f_globals.get('__name__', '?')}, line {trace.tb_lineno}"
    return f"internal error: {type(error).__name__}{where}; {advice}"


def _compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii")
