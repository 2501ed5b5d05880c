"""One run over hosts by SSH, the same for audit, collect and plan: targets, pool, store, and a report from it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..core.host_status import failed, without_judgement
from ..report.audits.failures import kind
from ..report.audits.hosts import Judged, Run
from ..store import schema
from ..store.audits import Store
from ..store.earlier import Earlier, read
from ..store.rows import Row, RunFacts
from . import fleet_options, targets
from .errors import FINDINGS, INCOMPLETE, OK, CliError
from .new_keys import NewKeys
from .progress import Display

if TYPE_CHECKING:
    from ..fleet.events import Done
    from ..fleet.transports import Choice
    from ..fleet.work import Work
    from ..transport.endpoint import Target

# A plan's word for what is to be done; the store counts by the words of an audit.
_STATUS = {"changes": "findings"}


@dataclass
class Twice:
    """How many hosts failed by a deadline while this machine was late, and how many of them answered at the end."""

    hosts: int = 0
    answered: int = 0

    def __str__(self) -> str:
        which = "1 host was" if self.hosts == 1 else f"{self.hosts:,} hosts were"
        return (
            f"this machine was too busy to keep its own deadlines: {which} to be asked again at the end,"
            f" {self.answered:,} answered; fewer --forks help"
        )


@dataclass(frozen=True)
class Outcome:
    """A run that ended: where its rows are, when it was, and what it took over from an earlier one."""

    store: Store
    run: int
    facts: RunFacts
    finished: str
    partial: bool
    summary: dict[str, int]
    earlier: Earlier | None
    carried: int
    twice: Twice
    transport: Choice
    private: bool
    """Whether root read a host, as far as is known before it is asked: what holds the evidence is for nobody else."""

    @property
    def code(self) -> int:
        """The exit code of an audit; 3 wins over 1."""
        if self.partial or without_judgement(self.summary) or self.summary["incomplete"]:
            return INCOMPLETE
        return FINDINGS if self.summary["findings"] else OK

    def report(self) -> Run:
        """Return the run as reports take it, each host's JSON as it was stored."""
        more: dict[str, Any] = {"asked": self.facts.hosts}
        if self.facts.command == "audit":
            more.update(fail_on=self.facts.fail_on, require=list(self.facts.require))
        if self.transport.because:
            more["transport"] = {"name": self.transport.name, "because": self.transport.because}
        if self.earlier is not None:
            again = self.summary["hosts"] - self.carried
            started = {"from": str(self.earlier.source), "started": self.earlier.started}
            more["retried"] = {**started, "hosts": again, "carried": self.carried}
        if self.twice.hosts:
            more["asked_again"] = {"hosts": self.twice.hosts, "answered": self.twice.answered}
        facts = self.facts
        return Run(
            facts.version, facts.profile, facts.started, self.finished, self.summary, self.texts, self.partial, more
        )

    def texts(self) -> Iterator[str]:
        """Yield each host's JSON on one line, in the order of the inventory."""
        for row in self.rows():
            if row.document is not None:
                yield row.document.decode("ascii")
                continue
            failed = Judged(row.name, error={"phase": row.phase or "", "message": row.message or ""})
            value = failed.plan_as_dict() if self.facts.command == "plan" else failed.as_dict()
            yield json.dumps(value, separators=(",", ":"))

    def rows(self) -> Iterator[Row]:
        """Yield the hosts in the order of the inventory."""
        return self.store.hosts(self.run)


@contextmanager
def run(
    args: argparse.Namespace,
    command: str,
    work: Work,
    keep: Callable[[Done], dict[str, str] | None] | None = None,
) -> Iterator[Outcome]:
    """Ask every host, and yield what came of it.

    `keep` takes each payload instead of the store, and may return a failure ({"phase": …, "message": …}). Ctrl-C ends
    the asking: what is finished by then is kept, and the outcome is partial.
    """
    from ..fleet import transports
    from ..fleet.inventory import targets as find
    from ..fleet.wanted import judged_by_variables

    choice = transports.choose(args.transport)
    if choice.because:
        fleet_options.say(choice.because)
    wanted = find(args.inventory, args.limit, args.target, fleet_options.options(args))
    if not wanted:
        raise CliError("no host matches: see `ansible-inventory --list` for what there is")
    if work.profile is not None:
        given = None if args.profile is None else work.profile
        wanted, work = judged_by_variables(wanted, work, given, fleet_options.say)
    earlier = _earlier(args, command, work, wanted)
    profile = work.profile.name if work.profile else ""
    require = work.require or ()
    facts = RunFacts(command, __version__, profile, work.fail_on.value, require, targets.now(), len(wanted))
    with _open(args.store) as store:
        number = store.begin(facts)
        places = {target.endpoint.alias: place for place, target in enumerate(wanted)}
        carried = 0 if earlier is None else _carry(store, number, earlier, places, documents=keep is None)
        left = [target for target in wanted if earlier is None or earlier.wants(target.endpoint.alias)]
        private = earlier is not None or any(_by_root(target) for target in wanted)
        taken = _Taken(store, number, wanted, places, keep)
        try:
            _ask(args, choice, command, work, left, taken)
        except KeyboardInterrupt:
            # The second one: not even the workers are waited for.
            store.finish(number, targets.now(), partial=True)
            raise
        finished = targets.now()
        store.finish(number, finished, taken.partial)
        if taken.twice.hosts:
            fleet_options.say(str(taken.twice))
        summary = store.summary(number)
        partial, twice = taken.partial, taken.twice
        yield Outcome(store, number, facts, finished, partial, summary, earlier, carried, twice, choice, private)
        store.prune()
        if store.trouble:
            fleet_options.say(store.trouble)


class _Taken:
    """Takes in what the pool tells, host by host."""

    def __init__(
        self,
        store: Store,
        run: int,
        wanted: Sequence[Target],
        places: dict[str, int],
        keep: Callable[[Done], dict[str, str] | None] | None,
    ) -> None:
        self._store = store
        self._run = run
        self._wanted = wanted
        self._places = places
        self._keep = keep
        self.partial = False
        self.twice = Twice()

    def tick(self) -> None:
        """Keep what has waited, also while slow hosts let nothing come."""
        self._store.tick(self._run)

    def done(self, event: Done) -> None:
        """Store one host."""
        place = self._places[event.alias]
        failure, document = event.failure, event.payload
        if failure is None and self._keep is not None:
            failure, document = self._keep(event), None
        row = Row(place, event.alias, _STATUS.get(event.status, event.status), None, None, None, event.seconds)
        if event.late_s:
            self.twice.hosts += 1
            self.twice.answered += failure is None
            document = _noted(document, event.late_s)
        row = replace(row, attempts=event.attempts, document=document)
        if failure is not None:
            endpoint = self._wanted[place].endpoint
            own = (endpoint.alias, endpoint.hostname, endpoint.host_key_alias or "")
            alike = kind(failure["message"], own, [jump.hostname for jump in endpoint.jumps])
            row = replace(row, status=failed(failure["phase"]), document=None, kind=alike)
            row = replace(row, phase=failure["phase"], message=failure["message"])
        self._store.add(self._run, row)


def _noted(document: bytes | None, late_s: float) -> bytes | None:
    """Return a host's JSON with a note that it was the second try that it answered; a plan's JSON has no notes."""
    value = json.loads(document) if document is not None else {}
    if "notes" not in value:
        return document
    value["notes"].append(f"answered at the second try: this machine was late by {late_s:.1f} s in the first")
    return json.dumps(value, separators=(",", ":")).encode()


def _by_root(target: Target) -> bool:
    endpoint = target.endpoint
    own = endpoint.connection == "local" or not endpoint.user
    # Where only the ssh program can tell who logs in, it may be root.
    doubtful = endpoint.become is not None or not endpoint.sure
    return doubtful or (os.geteuid() == 0 if own else endpoint.user == "root")


def _ask(
    args: argparse.Namespace, choice: Choice, command: str, work: Work, left: Sequence[Target], taken: _Taken
) -> None:
    from ..fleet import pool, transports
    from ..fleet.events import Done, NotDone
    from ..fleet.stop import Stop, on_signals
    from ..transport.limits import Limits

    if not left:
        fleet_options.say("every host was judged in the earlier run: none is asked again")
        return
    forks = args.forks or fleet_options.FORKS
    limits = Limits(total_s=args.timeout or fleet_options.TIMEOUT_S)
    begun = f"{command} of {len(left):,} hosts, {min(forks, len(left))} at a time"
    opener = transports.find(choice.name, left)
    for note in transports.notes(opener, left):
        fleet_options.say(note)
    stop, keys = Stop(), NewKeys(left)
    events = pool.run(left, work, forks=forks, limits=limits, transport=opener, stop=stop)
    with on_signals(stop), Display(sys.stderr, begun, len(left)) as display:
        for event in events:
            if isinstance(event, Done):
                taken.done(event)
            elif isinstance(event, NotDone):
                taken.partial = True
            else:
                taken.tick()
                display.update(event)
    for line in keys.said():
        fleet_options.say(line)


def _open(word: str | None) -> Store:
    if word == "none":
        return Store(None)
    return Store(Path(word) if word else schema.default_path(dict(os.environ)))


def _earlier(args: argparse.Namespace, command: str, work: Work, wanted: Sequence[Target]) -> Earlier | None:
    if args.retry_failed is None:
        return None
    earlier = read(args.retry_failed, command, [target.endpoint.alias for target in wanted])
    if work.profile is not None:
        measures = [("--profile", earlier.profile, work.profile.name)]
        # A report of one machine does not say these two.
        if command == "audit" and earlier.fail_on is not None:
            measures.append(("--fail-on", earlier.fail_on, work.fail_on.value))
        if command == "audit" and earlier.require is not None:
            measures.append(("--require", " ".join(earlier.require), " ".join(work.require or ())))
        for flag, before, now in measures:
            if before != now:
                raise CliError(
                    f"{earlier.source}: judged with {flag} {before or 'not given'}, and this run with "
                    f"{now or 'none'}: one report cannot hold both"
                )
    return earlier


def _carry(store: Store, run: int, earlier: Earlier, places: dict[str, int], documents: bool) -> int:
    """Take over what the earlier run knows of hosts that are not asked again; each says when it was judged."""
    carried = set()
    for row in earlier.rows():
        place = places.get(row.name)
        if place is None or place in carried or earlier.wants(row.name):
            continue
        if documents:
            value = json.loads(row.document or b"{}")
            value.setdefault("judged", earlier.started)
            row = replace(row, document=json.dumps(value, separators=(",", ":")).encode())
        store.add(run, replace(row, place=place))
        carried.add(place)
    store.flush(run)
    return len(carried)
