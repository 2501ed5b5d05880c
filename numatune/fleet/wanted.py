"""What the inventory wants of each host: its variables to a profile, or to the error of that host alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from ..core.errors import InputError
from ..core.host_status import PROFILE as UNFIT
from ..core.inventory import PROFILE, wanted
from ..core.variables import unknown
from ..core.wanted import Profile
from ..transport.endpoint import Target
from ..transport.failure import clean
from .ansible_options import NOT_READ
from .work import Work


def judged_by_variables(
    targets: Sequence[Target], work: Work, given: Profile | None, note: Callable[[str], None]
) -> tuple[list[Target], Work]:
    """Return the targets and the work, with a profile for each host whose inventory variables ask for another one.

    `given` is the profile of the command line, which replaces `numatune_profile` as `-e numatune_profile=…` does; CPU
    roles and options of the inventory hold beside it. A host whose variables make no profile is refused, and the
    others are judged. `note` takes a line for each variable that is not read.
    """
    made: dict[str, Profile | str] = {}
    profiles: dict[str, Profile] = {}
    ignored: Counter[str] = Counter()
    found = []
    for target in targets:
        if target.variables and target.refused is None:
            text = target.variables
            if text not in made:
                made[text] = _profile(text, given)
            profile = made[text]
            ignored.update(name for name in json.loads(text) if name in NOT_READ or (name == PROFILE and given))
            if isinstance(profile, str):
                target = replace(target, refused=profile, refused_phase=UNFIT)
            else:
                profiles[target.alias] = profile
        found.append(target)
    for name, hosts in ignored.items():
        why = f"--profile {given.name} replaces it" if given and name == PROFILE else NOT_READ[name]
        note(f"the inventory sets {name} for {hosts:,} host{'s' if hosts != 1 else ''}: not read here, {why}")
    return found, replace(work, profiles=profiles)


def _profile(text: str, given: Profile | None) -> Profile | str:
    variables = json.loads(text)
    try:
        if mistyped := unknown(variables):
            raise InputError("; ".join(mistyped.values()))
        return wanted(variables, given)
    except InputError as error:
        return f"its variables: {clean(str(error), 400)}"
