"""Writes docs/settings: a page for each setting, and a table of all, from what `numatune explain` says of them.

`make pages` calls it; tests/house/test_pages.py holds the pages against `pages()`.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numatune.cli import main as numatune
from numatune.core.catalogue import SETTINGS, setting
from numatune.core.inventory import OPTIONS

FOLDER = Path(__file__).resolve().parents[1] / "docs/settings"
# What the column says, and a page, of a setting that is tuned by default, where it is named, or not at all.
_TUNED = {
    "yes": "changed by `tune.yml`",
    "where it is named": "changed by `tune.yml` where it is named (`--tags {0}`, or `tune_also: [{0}]` in the "
    "inventory)",
    "no": "audited only: `tune.yml` does not change it",
}
MADE = "<!-- Made by `make pages` from what the setting declares: change that, not this page. -->"


def pages() -> dict[str, str]:
    """Return the name of each file of the folder, and its text."""
    told = {item.name: _explained(item.name) for item in SETTINGS}
    return {"README.md": _table(told)} | {f"{name}.md": _page(facts) for name, facts in told.items()}


def _explained(name: str) -> dict[str, Any]:
    """Return what `numatune explain --format json` says: the page and the command cannot differ."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = numatune(["explain", name, "--format", "json"])
    if code:
        raise SystemExit(f"numatune explain {name} ended with {code}")
    facts: dict[str, Any] = json.loads(said.getvalue())
    return facts


def _table(told: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        f"| [{name}]({name}.md) | {facts['title']} | {facts['severity']} | {_tuned(facts)} |"
        for name, facts in told.items()
    ]
    head = ["| setting | what it is | severity | `tune.yml` changes it |", "|---|---|---|---|"]
    words = "What is judged, in the order of the audit. `numatune settings` prints the same."
    return "\n".join(["# Settings", "", MADE, "", words, "", *head, *rows]) + "\n"


def _tuned(facts: Mapping[str, Any]) -> str:
    return "yes" if facts["tuned_by_default"] else "where it is named" if facts["tuned"] else "no"


def _page(facts: Mapping[str, Any]) -> str:
    name = facts["setting"]
    tuned = _TUNED[_tuned(facts)].format(name)
    parts = [f"# {facts['title']}", "", MADE, "", f"`{name}` · {facts['severity']} · {tuned}", "", facts["why"], ""]
    parts += ["## Wanted", "", facts["remedy"], ""]
    if facts["options"]:
        parts += ["## Options", "", f"In a [profile](../profiles.md), under `settings: {name}:`.", ""]
        parts += ["| option | variable in an inventory | meaning |", "|---|---|---|"]
        parts += [_option(name, option, doc) for option, doc in facts["options"].items()]
        parts += [""]
    parts += ["## Sources of the recommendation", "", *(f"- <{link}>" for link in facts["references"]), ""]
    parts += ["## What is read from a host", "", "```text", *facts["reads"], "```"]
    return "\n".join(parts) + "\n"


def _option(of: str, name: str, doc: str) -> str:
    variable = next((f"`{key}`" for key, place in OPTIONS.items() if place == (of, name)), "")
    choices = setting(of).options[name].choices
    words = f"{' or '.join(f'`{word}`' for word in choices)}. " if choices else ""
    return f"| `{name}` | {variable} | {words}{doc} |".replace("  ", " ")


def main() -> None:
    """Write what differs, and remove the pages of settings that are gone."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    wanted = pages()
    for path in FOLDER.glob("*.md"):
        if path.name not in wanted:
            path.unlink()
            print(f"removed {path.name}")
    for name, text in wanted.items():
        path = FOLDER / name
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
            print(f"wrote {name}")


if __name__ == "__main__":
    sys.exit(main())
