"""Every combination of what can be read of kernel arguments comes to one state, and each state has its way out."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from core.grub_cfg import debian
from core.machine import Machine

from numatune.core.loaders.records import Armed, Trial, short
from numatune.core.parsers import grub
from numatune.core.settings.isolation import argument_states
from numatune.core.settings.isolation.argument_states import Facts, State, mark_of, state_of

WANTED = {"skew_tick": "1", "nosmt": None}
HERE, BEFORE = "boot-now", "boot-before"
ENV = "boot/grub/grubenv"


def facts() -> list[Facts]:
    trials = [None, Trial(HERE, "a=1"), Trial(BEFORE, "a=1")]
    found = []
    for running, default, trial, to_come, since, prepared in product(
        (True, False, None), (True, False, None), trials, (True, False), ("", HERE, BEFORE), (True, False)
    ):
        marks = [None, Armed("another", "")]
        if trial:
            marks += [Armed(trial.key, ""), Armed(trial.key, short(HERE)), Armed(trial.key, short("boot-between"))]
        found += [Facts(running, default, HERE, prepared, trial, mark, to_come, since) for mark in marks]
    return found


def by_the_table(item: Facts) -> State:
    """Say anew, row by row, what the module's table says."""
    passed = item.trial is not None and item.armed is not None and item.armed.first == item.trial.key
    if passed and item.armed and item.trial:
        last_armed_here = item.armed.again == short(HERE) if item.armed.again else item.trial.boot_id == HERE
        passed = not last_armed_here
    rows = {
        State.UNKNOWN: item.default is None,
        State.PERMANENT: bool(item.running and item.default),
        State.NOT_TAKEN: item.running is False and item.default is True and item.held_since == BEFORE,
    }
    rows[State.WRITTEN] = item.default is True and not item.running and not rows[State.NOT_TAKEN]
    neither = item.default is False and not item.running
    standing = item.trial is not None
    again = item.armed is not None and bool(item.armed.again)
    rows[State.NEW] = neither and not standing and not item.prepared
    rows[State.ARMING] = neither and (item.prepared if not standing else not item.to_come and not passed)
    rows[State.ARMED] = neither and standing and item.to_come and not passed
    rows[State.PASSED_OVER] = neither and standing and item.to_come and passed and not again
    rows[State.IGNORED] = neither and standing and item.to_come and passed and again
    rows[State.TRIED] = neither and standing and not item.to_come and passed
    runs = item.default is False and item.running is True
    stands = standing or item.prepared
    rows[State.TRIAL_HOLDS] = runs and stands
    rows[State.LOST] = runs and not stands and bool(item.held_since)
    rows[State.UNSAVED] = runs and not stands and not item.held_since
    (state,) = [state for state, fits in rows.items() if fits]
    return state


def test_every_combination_is_one_state() -> None:
    found = {item: state_of(item) for item in facts()}
    assert len(found) > 1000
    assert {item: by_the_table(item) for item in found} == found
    assert set(found.values()) == set(State)
    for state in State:
        assert f"\n| {state.name} " in str(argument_states.__doc__)


def test_a_trial_is_known_by_its_boot_and_its_arguments() -> None:
    tried = Facts(False, False, HERE, True, Trial(BEFORE, "a=1"), Armed(Trial(BEFORE, "a=1").key, ""))
    assert state_of(tried) is State.TRIED
    for other in (Trial(BEFORE, "a=2"), Trial(HERE, "a=1")):
        assert state_of(replace(tried, trial=other)) is State.ARMING


def test_a_trial_that_was_passed_over_is_armed_once_more_and_no_third_time() -> None:
    trial = Trial(BEFORE, "a=1")
    over = Facts(False, False, HERE, True, trial, Armed(trial.key, ""), to_come=True)
    assert state_of(over) is State.PASSED_OVER
    again = mark_of(over, trial)
    assert again == f"{trial.key}.{short(HERE)}"
    armed = replace(over, armed=Armed(*again.split(".")))
    assert (state_of(armed), mark_of(armed, trial)) == (State.ARMED, again)
    assert state_of(replace(armed, here="boot-after")) is State.IGNORED


def machine() -> Machine:
    made = Machine(debian(), {})
    made.ask(WANTED)
    return made


def boot(host: Machine) -> None:
    """Boot the default entry, whatever the environment block says: GRUB read it as it was before."""
    host.boots += 1
    host.files["proc/cmdline"] = f"BOOT_IMAGE=/vmlinuz {host.next(once=False)}\n"
    host.files["proc/sys/kernel/random/boot_id"] = f"00000000-0000-4000-8000-{host.boots:012}\n"


def test_a_grub_that_never_looks_is_rebooted_twice_and_named() -> None:
    host = machine()
    host.tune()
    boot(host)
    assert host.status() == "pending_reboot"
    assert "the last boot passed it over" in host.judge().reason
    assert host.tune() == [("once", f"/{ENV}:numatune_trial")]
    boot(host)
    finding = host.judge()
    assert finding.status.value == "wrong"
    assert "the host was rebooted twice to try them" in finding.reason
    assert "set tune_kernel_arguments_retry: true" in host.conflict()
    host.ask(WANTED, retry=True)
    host.tune()
    host.ask(WANTED)
    assert (host.status(), host.plan().changes) == ("pending_reboot", ())
    host.reboot()
    host.tune()
    assert host.status() == "ok"


def permanent() -> Machine:
    host = machine()
    host.tune()
    host.reboot()
    host.tune()
    assert host.status() == "ok"
    return host


def test_an_argument_that_was_taken_out_by_hand_is_said_to_have_been_permanent() -> None:
    host = permanent()
    host.files["boot/grub/grub.cfg"] = host.files["boot/grub/grub.cfg"].replace(" skew_tick=1 nosmt", "")
    finding = host.judge()
    assert finding.status.value == "lost_at_reboot"
    assert "they were permanent, and /boot/grub/grub.cfg line" in finding.reason
    assert "trial boot" not in finding.reason
    assert finding.remedy == "run playbooks/tune.yml, which makes them permanent"
    host.tune()
    assert host.status() == "ok"


def test_a_recovery_entry_as_default_is_named_and_the_remedy_is_what_tune_says() -> None:
    host = permanent()
    host.files["boot/grub/grub.cfg"] = host.files["boot/grub/grub.cfg"].replace('default="0"', 'default="1>1"')
    finding = host.judge()
    assert finding.status.value == "lost_at_reboot"
    assert "they were permanent, and /boot/grub/grub.cfg line" in finding.reason
    assert finding.remedy == host.conflict()
    assert "choose another default" in finding.remedy


def test_another_entry_asked_for_once_is_no_trial_of_numatunes() -> None:
    host = permanent()
    host.files[ENV] = grub.with_variable(host.files[ENV], "next_entry", "Memory test")
    finding = host.judge()
    assert finding.status.value == "lost_at_reboot"
    assert "it is another one, asked for once" in finding.reason
    assert f"grub-editenv /{ENV} unset next_entry" in finding.remedy


def test_a_boot_that_came_without_them_may_be_asked_for_once_more() -> None:
    host = machine()
    host.ask(WANTED, trial=False)
    running = host.files["proc/cmdline"]
    host.tune()
    host.reboot()
    host.files["proc/cmdline"] = running
    assert (host.status(), host.plan().changes) == ("wrong", ())
    host.ask(WANTED, retry=True)
    host.tune()
    host.ask(WANTED)
    assert host.status() == "pending_reboot"
    host.files["proc/sys/kernel/random/boot_id"] = "00000000-0000-4000-8000-000000000099\n"
    assert host.status() == "wrong"


@pytest.mark.parametrize("written", ["boot\n$(touch /PWNED)", "a b", ""])
def test_a_boot_id_that_is_none_goes_into_no_script(written: str) -> None:
    host = machine()
    host.files["proc/sys/kernel/random/boot_id"] = written
    host.tune()
    assert "# numatune-trial boot= arguments=" in host.files["etc/grub.d/zz_numatune"]
