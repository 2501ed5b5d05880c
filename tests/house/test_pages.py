"""README, docs/ and the pages beside them: links lead somewhere, nothing is left out, generated pages are fresh."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from numatune.cli import COMMANDS, errors
from numatune.core import inventory, variables
from numatune.core.catalogue import SETTINGS
from numatune.core.chosen import ALSO, chosen
from numatune.core.model import Status
from numatune.verdict.decision import VERDICTS

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("roles/*/README.md")])
README = ROOT / "README.md"
USERS = "\n".join(path.read_text("utf-8") for path in (README, *sorted((ROOT / "docs").rglob("*.md"))))
MOST_LINES = 150


def prose(path: Path) -> str:
    """Return a page without its code: fenced, indented, and between backticks."""
    text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.M | re.S)
    lines = [line for line in text.splitlines() if not line.startswith("    ")]
    return re.sub(r"`[^`\n]*`", "", "\n".join(lines))


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as the repository's host and the site make them."""
    text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.M | re.S)
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.+?) *$", text, flags=re.M):
        plain = re.sub(r"[`*]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)).lower()
        kept = (sign for sign in plain if sign in "-_ " or unicodedata.category(sign)[0] in "LN")
        found.add("".join(kept).replace(" ", "-"))
    return found


def links(path: Path) -> Iterator[str]:
    """Yield the targets of a page's links and pictures that are not addresses."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if "://" not in target:
            yield target


def dead(path: Path) -> list[str]:
    """Return the links of a page that lead nowhere."""
    found = []
    for target in links(path):
        name, _, anchor = target.partition("#")
        there = (path.parent / name).resolve() if name else path
        if not there.exists():
            found.append(f"{target}: no such file")
        elif anchor and anchor not in anchors(there):
            found.append(f"{target}: no such heading; there is {', '.join(sorted(anchors(there)))}")
    return found


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path: Path) -> None:
    assert dead(path) == []


def test_a_dead_link_and_a_dead_anchor_are_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    text = "# A page: `x` & more\n[a](gone.md) [b](#nowhere) [c](#a-page-x--more) `[d](code.md)`\n\n    [e](code.md)\n"
    page.write_text(text, "utf-8")
    assert [line.partition(":")[0] for line in dead(page)] == ["gone.md", "#nowhere"]


def test_links_of_users_pages_stay_within_what_is_shipped() -> None:
    """What the sdist and the collection's archive both hold: a link from there leads nowhere else."""
    shipped = {"docs", "roles", "playbooks", *(path.name for path in ROOT.glob("*.md"))}
    wrong = []
    for page in (README, *(ROOT / "docs").rglob("*.md")):
        for target in links(page):
            there = (page.parent / target.partition("#")[0]).resolve().relative_to(ROOT)
            wrong += [f"{page.name}: {target}"] if target[0] != "#" and there.parts[0] not in shipped else []
    assert wrong == []


def test_the_front_page_is_short() -> None:
    assert len(README.read_text("utf-8").splitlines()) <= MOST_LINES


def test_every_page_is_reached_from_the_front_page() -> None:
    seen: set[Path] = set()
    ahead = [README]
    while ahead:
        page = ahead.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        ahead += [(page.parent / target.partition("#")[0]).resolve() for target in links(page) if target[0] != "#"]
    assert sorted(path.relative_to(ROOT).as_posix() for path in set((ROOT / "docs").rglob("*.md")) - seen) == []


# What there is, is told.


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_told(name: str) -> None:
    assert f"`{name}`" in README.read_text("utf-8")
    assert f"numatune {name}" in USERS


def test_every_setting_status_and_verdict_is_told() -> None:
    words = [item.name for item in SETTINGS] + [status.value for status in Status] + list(VERDICTS)
    assert [word for word in words if f"`{word}`" not in USERS and f"[{word}]" not in USERS] == []


def test_every_exit_code_is_told() -> None:
    page = (ROOT / "docs/contract.md").read_text("utf-8")
    codes = {value for name, value in vars(errors).items() if name.isupper()}
    told = {int(code) for code in re.findall(r"^\| (\d) \|", page.partition("## Formats")[0], flags=re.M)}
    assert told == codes


def options(command: str) -> set[str]:
    """Return the long options of a command."""
    parser = argparse.ArgumentParser()
    importlib.import_module(f"numatune.cli.{command}").configure(parser)
    return {word for action in parser._actions for word in action.option_strings if word.startswith("--")}


TYPED = re.compile(r"numatune (\w+)((?: +[^`\n#|]*)?)")


def test_what_is_typed_can_be_typed() -> None:
    wrong = []
    for command, rest in TYPED.findall(USERS):
        if command not in COMMANDS:
            continue
        known = options(command)
        wrong += [f"{command} {word}" for word in re.findall(r"(?<!\S)--[a-z][a-z-]*", rest) if word not in known]
    later = {"audit --unit", "audit --pid", "bench --engine"}
    assert [one for one in wrong if one not in later] == []


@pytest.mark.parametrize("command", ["audit", "collect", "plan", "bench", "probe", "watch", "compare", "pack"])
def test_every_option_of_a_command_is_told(command: str) -> None:
    # What the page of the command says for a group of them.
    alike = set("--help --inventory --limit --output --vault-pass-file --format --python --arch --wheels".split())
    alike |= {"--no-wheels", "--seconds"}
    assert sorted(name for name in options(command) - alike if name not in USERS) == []


def test_every_variable_is_told() -> None:
    names = {inventory.PROFILE, ALSO, *inventory.ROLES, *inventory.OPTIONS}
    # What is kept between tasks, and what tests alone set.
    names |= set(variables.PLAYBOOKS) - {"numatune_reverted", "numatune_sysroot"}
    names |= {"reboot_ok", "reboot_timeout", "audit_fail_on", "audit_report_dir"}
    assert sorted(name for name in names if f"`{name}`" not in USERS and f"`{name}:" not in USERS) == []


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text("utf-8"), flags=re.M))
    text = "\n".join(path.read_text("utf-8") for path in PAGES)
    named = set(re.findall(r"(?:`|^ {4})make ([a-z0-9-]+)", text, flags=re.M))
    assert named >= {"run", "test"}
    assert sorted(named - targets) == []


def test_the_example_of_a_profile_is_one() -> None:
    from numatune.core.profile import from_mapping

    text = (ROOT / "docs/profiles.md").read_text("utf-8").partition("```yaml\n")[2].partition("```")[0]
    assert from_mapping(yaml.safe_load(text)).name == "my-hosts"


def test_the_pages_of_the_settings_say_what_tune_changes() -> None:
    """What the playbook tunes by itself, and no other setting, is said to be changed by it."""
    by_default = set(chosen())
    rows = re.findall(
        r"^\| \[(\w+)\].*\| ([a-z ]+) \|$", (ROOT / "docs/settings/README.md").read_text("utf-8"), flags=re.M
    )
    assert {name for name, said in rows if said == "yes"} == by_default
    assert {name: said for name, said in rows if said != "yes"} == {
        item.name: "where it is named" if item.changes else "no" for item in SETTINGS if item.name not in by_default
    }
    for name, said in rows:
        page = (ROOT / f"docs/settings/{name}.md").read_text("utf-8")
        named = (
            f"· changed by `tune.yml` where it is named (`--tags {name}`, or `tune_also: [{name}]` in the inventory)"
        )
        assert ("· changed by `tune.yml`\n" in page, named in page) == (said == "yes", said == "where it is named")


def tool(name: str) -> ModuleType:
    """Return a module of tools/."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"tools/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_of_the_settings_are_fresh() -> None:
    there = {path.name: path.read_text("utf-8") for path in (ROOT / "docs/settings").iterdir()}
    wanted = tool("settings_pages").pages()
    assert set(there) == set(wanted), "run `make pages`"
    assert [name for name, text in wanted.items() if there[name] != text] == [], "run `make pages`"


def test_the_role_tune_says_what_the_settings_declare() -> None:
    wanted = tool("tune_role").files()
    stale = [name for name, text in wanted.items() if (ROOT / "roles/tune" / name).read_text("utf-8") != text]
    assert stale == [], "run `make pages`"
    specs = yaml.safe_load(wanted["meta/argument_specs.yml"])["argument_specs"]["main"]["options"]
    defaults = yaml.safe_load(wanted["defaults/main.yml"])
    # What the role has of its own is named like no option, and the settings' options are the rest.
    own = {item.name for item in tool("tune_role").OWN}
    assert set(specs) == own | set(inventory.OPTIONS)
    assert not own & set(inventory.OPTIONS)
    assert set(defaults) == own
    assert [name for name in inventory.OPTIONS if f"| `{name}` |" not in wanted["README.md"]] == []


def test_roles_and_playbooks_name_no_setting() -> None:
    """None is named there by hand but kernel arguments, which a reboot tries; `make pages` writes the rest."""
    hand = [path for folder in ("roles", "playbooks") for path in (ROOT / folder).rglob("*.yml")]
    hand = [path for path in hand if "collections" not in path.parts and path.parent != ROOT / "roles/tune/meta"]
    named = {
        (path.relative_to(ROOT).as_posix(), item.name)
        for path in hand
        for item in SETTINGS
        for line in path.read_text("utf-8").splitlines()
        if not line.lstrip().startswith("#") and re.search(rf"(?<![a-z_]){item.name}(?![a-z])", line)
    }
    assert named == {("playbooks/tasks/change.yml", "kernel_arguments")}
