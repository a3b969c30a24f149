"""Settings of Sphinx for `kazashi docs`. The site works offline: theme, fonts and search are files of its own."""

from __future__ import annotations

from importlib.metadata import version as installed

project = "Kazashi"
author = "The Kazashi authors"
release = version = installed("kazashi")
language = "en"
locale_dirs = ["locales"]  # translations: sphinx-build -b gettext, then one folder for each language
gettext_compact = False

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_click"]
myst_heading_anchors = 3
exclude_patterns = ["locales"]
default_role = "code"  # docstrings have single backticks around names

html_theme = "furo"
html_title = f"Kazashi {release}"
html_show_sourcelink = False
html_copy_source = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True, "show-inheritance": False}
