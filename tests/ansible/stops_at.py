"""A callback of the tests: the run waits at the start of one task, so that it is cut just there."""

from __future__ import annotations

import os
from pathlib import Path

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: stops_at
type: notification
short_description: Wait where a test says
description: [For tests.]
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "stops_at"
    CALLBACK_NEEDS_ENABLED = False

    def v2_playbook_on_task_start(self, task, is_conditional):
        if os.environ["NUMATUNE_STOPS_AT"] in task.get_name():
            # It opens once the test opens the other end.
            Path(os.environ["NUMATUNE_STOPS_PIPE"]).read_bytes()
