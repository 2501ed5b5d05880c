# Copyright: the numatune maintainers
# SPDX-License-Identifier: Apache-2.0
"""The table of a run that is cut by Ctrl-C or a signal: what became of each host, as far as the controller knows.

Ansible ends such a run at once and calls no task or handler of it. It loads what lies in this folder for the playbooks
beside it, wherever the collection is installed and whatever ansible.cfg says, and leaves all others alone.
"""

from __future__ import annotations

DOCUMENTATION = """
name: numatune_cut
type: notification
author: the numatune maintainers
short_description: Print what became of each host when a run is cut
description:
  - Does nothing for a play without the variable C(cut). Its C(kept) names the facts with a host's state and reason
    (C(tune) for C(tune_state) and C(tune_reason)), its C(do) what to do about a host that was in the middle.
  - SIGTERM, and SIGHUP where it is not ignored, end such a play as Ctrl-C does.
"""

import atexit
import os
import signal

from ansible import context
from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    """Called by Ansible in the controller's own process."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "numatune_cut"
    CALLBACK_NEEDS_ENABLED = False

    def __init__(self):
        super().__init__()
        self._pid = os.getpid()
        self._cut = None
        self._hosts = []
        self._begun = set()
        self._facts = {}
        atexit.register(self._show)

    def v2_playbook_on_play_start(self, play):
        """Begin a table where a play asks for one; of a play in batches this is called for each."""
        cut = play.vars.get("cut")
        if cut and self._cut is None:
            for number in (signal.SIGTERM, signal.SIGHUP):
                if number == signal.SIGTERM or signal.getsignal(number) is signal.SIG_DFL:
                    signal.signal(number, self._as_ctrl_c)
        if cut != self._cut:
            self._begun, self._facts = set(), {}
        self._cut = cut
        if cut:
            self._hosts = play.get_variable_manager().get_vars(play=play)["ansible_play_hosts_all"]

    def v2_runner_on_start(self, host, task):
        """Note that a host is in the middle."""
        self._begun.add(host.get_name())

    def v2_runner_on_ok(self, result):
        """Note what the playbook keeps of a host."""
        facts = result.result.get("ansible_facts")
        if self._cut and isinstance(facts, dict):
            self._facts.setdefault(result.host.get_name(), {}).update(facts)

    def v2_playbook_on_stats(self, stats):
        """Leave the table to the playbook, which came to its end."""
        self._cut = None

    def _as_ctrl_c(self, number, frame):
        signal.signal(number, signal.SIG_DFL)
        os.kill(self._pid, signal.SIGINT)

    def _show(self):
        if self._cut and os.getpid() == self._pid:
            self._display.display("\n".join(["", "The run was cut:", *map(self._row, self._hosts)]))

    def _row(self, host):
        kept = self._cut["kept"]
        found = self._facts.get(host, {})
        if f"{kept}_state" in found:
            state, reason = found[f"{kept}_state"], found.get(f"{kept}_reason", "")
        elif host not in self._begun:
            state, reason = "not reached", ""
        else:
            state = "interrupted"
            reason = "nothing was changed (--check)" if context.CLIARGS.get("check") else self._cut["do"]
        return f"{host:<24} {state:<14} {reason}".rstrip()
