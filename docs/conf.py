"""The site: ``make docs``. Pages are rendered where they lie, in ``docs`` and ``spec``, so links work both ways."""

from __future__ import annotations

from sphinx.application import Sphinx

import agd

project = "AGD"
author = "the AGD authors"
copyright = author
version = release = agd.__version__

root_doc = "docs/index"
source_suffix = {".md": "markdown"}
include_patterns = ["docs/**", "spec/**", "CHANGELOG.md"]
exclude_patterns = ["docs/assets"]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "numpydoc",
    "sphinx_click",
    "sphinx_copybutton",
]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autosummary_generate = False  # numpydoc brings it; no page is made by it
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the sections Parameters and Returns say the types
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# Nothing is fetched from elsewhere, neither while the site is built nor when it is read.
smartquotes = False
html_theme = "furo"
html_title = f"AGD {version}"
html_static_path = ["assets/static"]
html_css_files = ["agd.css"]
html_extra_path = ["assets/extra"]
html_show_copyright = False
html_show_sphinx = False
html_show_sourcelink = False
html_copy_source = False
templates_path: list[str] = []
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1f5f8b", "color-brand-content": "#1f5f8b"},
    "dark_css_variables": {"color-brand-primary": "#7fb8e0", "color-brand-content": "#7fb8e0"},
}


def plain(app: Sphinx, context: object, lines: list[str]) -> None:
    """Let help texts be plain text: asterisks and backslashes in them are no markup, examples are code."""
    found: list[str] = []
    for line in lines:
        if line.startswith("|  "):
            if found[-1:] != [""] and not found[-1].startswith("   "):
                found += ["", ".. code-block:: text", ""]
            found.append(f"   {line[2:].strip()}")
        elif line.lstrip().startswith("..") or "``" in line:
            found.append(line)
        else:
            found.append(line.removeprefix("| ").replace("\\", "\\\\").replace("*", r"\*"))
    lines[:] = found


def setup(app: Sphinx) -> None:
    """Connect what is above."""
    for part in ("description", "options", "arguments"):
        app.connect(f"sphinx-click-process-{part}", plain)
