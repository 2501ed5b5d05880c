"""The site of the documentation: README as its front page, and docs/. `make docs` builds it; a dead link fails.

The repository's root is the source folder, so that every link that works there works on the site.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]

project = "numatune"
copyright = "the numatune maintainers"  # noqa: A001  # Sphinx's own name
html_title = "numatune"
html_theme = "furo"
html_show_copyright = False
extensions = ["myst_parser"]
root_doc = "README"
include_patterns = ["*.md", "docs/**.md", "roles/*/README.md"]
# Sphinx walks the folders before it looks at the patterns, and one link under collections/ leads back to the root.
exclude_patterns = [path.name for path in ROOT.iterdir() if path.is_dir() and path.name not in ("docs", "roles")]
# Headings get the anchors that the repository's host gives them.
myst_heading_anchors = 4
nitpicky = True

# What stands at the side, in this order; the pages know nothing of it and read the same without the site.
NAVIGATION = {
    "Use": "docs/install docs/audit docs/fleet docs/tune docs/measure docs/profiles",
    "Settings": "docs/settings/README docs/settings/*",
    "Reference": "docs/contract docs/lab",
    "Roles": "roles/*/README",
    "Project": "SECURITY CONTRIBUTING CHANGELOG",
}


def _with_navigation(app: Sphinx, name: str, text: list[str]) -> None:
    if name == root_doc:
        for caption, pages in NAVIGATION.items():
            lines = "\n".join(pages.split())
            text[0] += f"\n```{{toctree}}\n:hidden:\n:glob:\n:caption: {caption}\n\n{lines}\n```\n"


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("source-read", _with_navigation)
    return {"parallel_read_safe": True}
