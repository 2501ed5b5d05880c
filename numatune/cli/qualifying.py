"""`numatune compare --criteria FILE`: whether a host qualifies, beside the verdict on its spikes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import yaml_file
from .errors import FINDINGS, INCOMPLETE, OK, CliError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..verdict.qualification import Criteria, Qualification
    from ..verdict.run import Run

NAME_IN_PLAYBOOKS = "qualify_criteria"
"""A file of variables for qualify.yml holds the criteria under this name, and is taken here too."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --criteria and --audit."""
    parser.add_argument(
        "--criteria",
        metavar="FILE",
        help="YAML or JSON: what must hold besides, as in qualify.yml; the exit code then says whether all does",
    )
    parser.add_argument(
        "--audit", metavar="FILE", help="JSON of `numatune audit --format json` after the change, for the criteria"
    )


def read_criteria(args: argparse.Namespace) -> Criteria | None:
    """The criteria that were asked for; a VerdictError or a CliError is one line about the file."""
    if args.criteria is None:
        if args.audit is not None:
            raise CliError("--audit goes with --criteria: without criteria nothing is asked of it")
        return None
    from ..verdict.qualification import parse_criteria

    data = yaml_file.load(Path(args.criteria), "name a YAML or JSON file")
    if isinstance(data, dict) and list(data) == [NAME_IN_PLAYBOOKS]:
        data = data[NAME_IN_PLAYBOOKS]
    return parse_criteria({} if data is None else data, args.criteria)


def judge(
    args: argparse.Namespace,
    criteria: Criteria,
    comparison: Mapping[str, Any],
    before: Sequence[Run],
    after: Sequence[Run],
) -> Qualification:
    """Hold a comparison and the audit that was given against the criteria."""
    from ..verdict.qualification import qualify

    audit = None if args.audit is None else _audit(args.audit)
    return qualify(criteria, comparison, before, after, audit)


def exit_code(found: Qualification) -> int:
    """0 qualified; 3 where something that was asked for could not be judged, else 1."""
    return OK if found.passed else INCOMPLETE if found.incomplete else FINDINGS


def _audit(path: str) -> dict[str, Any]:
    """One host of an audit: the file holds it alone, or is a report about this host only."""
    from ..verdict.errors import VerdictError
    from ..verdict.run import read_json

    try:
        data = read_json(path, "audit")
    except VerdictError as error:
        raise CliError(str(error)) from error
    hosts = data.get("hosts") if isinstance(data, dict) else None
    if isinstance(hosts, list):
        if len(hosts) != 1:
            raise CliError(f"{path} holds {len(hosts)} hosts: give the audit of the host that was measured")
        data = hosts[0]
    findings = data.get("findings") if isinstance(data, dict) else None
    if not isinstance(findings, list) or not all(isinstance(item, dict) for item in findings):
        raise CliError(f"{path} is not an audit: it has no findings; use `numatune audit --format json`")
    return dict(data)
