"""The power goes at seeded random instants of tune.yml: the guest boots, the audit tells the truth, tune converges.

NUMATUNE_CUTS is how many (6), NUMATUNE_CUTS_SEED where the instants come from (1); -k picks one to be repeated.
"""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from lab.guest import Guest
from lab.powercuts import (
    KINDS,
    Moment,
    References,
    Tuning,
    check_audit,
    check_files,
    check_grub,
    controller_of,
    generations,
    lines_of,
)

pytestmark = pytest.mark.lab
LOG = logging.getLogger("lab")

CUTS = int(os.environ.get("NUMATUNE_CUTS", "6"))
SEED = int(os.environ.get("NUMATUNE_CUTS_SEED", "1"))
# Those that reboot take minutes each.
ORDER = ("plain", "armed") if CUTS <= 6 else ("plain", "armed", "plain", "armed", "rebooted")
# A guest boots and runs its modules on little more than one core.
WORKERS = min(4, os.cpu_count() or 1)


def kind_of(number: int) -> str:
    """The kind of run that a cut is made in."""
    return ORDER[number % len(ORDER)]


@pytest.fixture(scope="module")
def cuts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Future[None]]]:
    """All cuts that were asked for, as many at a time as there are cores."""
    numbers = sorted(
        item.callspec.params["number"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.originalname == test_a_cut_is_survived.__name__
    )
    # The short ones first: they need not wait for the other reference.
    numbers.sort(key=lambda number: kind_of(number) != "plain")
    references = References(tmp_path_factory.mktemp("cuts"))
    pool = ThreadPoolExecutor(WORKERS)
    try:
        began = time.monotonic()
        references.make_plain()
        LOG.info("reference: tuned after %.0f s, %s", time.monotonic() - began, references.ends["plain"].spans)
        needed = any(kind_of(number) != "plain" for number in numbers)
        armed = pool.submit(make_armed, references) if needed else None
        yield {number: pool.submit(cut, references, number, armed) for number in numbers}
    finally:
        pool.shutdown(cancel_futures=True)
        references.tuned.remove()


def make_armed(references: References) -> None:
    """Make the reference of the runs with kernel arguments."""
    began = time.monotonic()
    references.make_armed()
    LOG.info("reference: armed and permanent after %.0f s", time.monotonic() - began)


def cut(references: References, number: int, armed: Future[None] | None) -> None:
    """Make one cut, and tell how to make it again where something is not as it must be."""
    kind, began = kind_of(number), time.monotonic()
    if kind != "plain" and armed:
        armed.result()
    moment = references.draw(kind, random.Random(f"{SEED}/{number}"))
    guest = Guest(f"cut-{number}")
    try:
        told = survive(references, kind, guest, moment)
    except BaseException as error:
        again = f"NUMATUNE_CUTS={CUTS} NUMATUNE_CUTS_SEED={SEED}"
        error.add_note(f"cut {number}, {kind}: the power went {moment}; again with {again} and -k 'survived[{number}]'")
        raise
    finally:
        guest.remove()
    LOG.info("cut %d, %s: %s; %s; %.0f s", number, kind, moment, told, time.monotonic() - began)


def survive(references: References, kind: str, guest: Guest, moment: Moment) -> str:
    """Cut one run, and hold what must be true afterwards; return what was found."""
    controller = controller_of(references.folder, references.begin(kind, guest))
    with Tuning(controller, guest, KINDS[kind]) as tuning:
        tuning.await_generation(moment.generation)
        time.sleep(moment.seconds)  # what is drawn: there is no event to wait for
        guest.cut()
    controller.add(guest.boot())

    lines, journal = lines_of(guest), generations(guest)
    check_files(lines, references.possible(kind))
    check_grub(guest)
    tuned = references.ends["plain"].files
    check_audit(lambda: controller.report(guest, **KINDS[kind]), guest, lines, tuned, kind)

    tried = "isolcpus=" in guest.read("cat /proc/cmdline")
    run = controller.play("tune", **KINDS[kind])
    state, reason = run.states()[guest.name]
    if kind == "rebooted" and state == "failed":
        # The trial had booted and was not permanent yet, which looks like arguments that do not boot.
        assert "not tried again" in reason, run.out
        run = controller.play("tune", tune_kernel_arguments_retry=True, **KINDS[kind])
        state, reason = run.states()[guest.name]
    end = "rebooted" if kind == "armed" and tried else kind
    assert state == ("pending_reboot" if end == "armed" else "tuned"), run.out
    left = lines_of(guest)
    assert left == references.ends[end].files, sorted(left ^ references.ends[end].files)
    assert {data["state"] for data in generations(guest).values()} <= {"completed", "reverted"}

    third = controller.play("tune", **KINDS[kind])
    assert third.recap(guest.name)["changed"] == 0, third.out
    assert third.states()[guest.name][0] == state, third.out
    reverted = controller.play("revert")
    assert reverted.code == 0, reverted.out
    left = lines_of(guest)
    assert left == references.stock, sorted(left ^ references.stock)
    check_grub(guest)
    begun = journal.get(moment.generation, {}).get("state", "lost")
    return f"generation {begun}, booted the {'trial' if tried else 'old'} entry, then {state}"


@pytest.mark.parametrize("number", range(CUTS))
def test_a_cut_is_survived(cuts: dict[int, Future[None]], number: int) -> None:
    cuts[number].result()
