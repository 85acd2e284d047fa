"""How Sphinx makes the site of these pages: `make docs`, without any network."""

from __future__ import annotations

import rareseg

project = "rareseg"
author = "the rareseg developers"
copyright = "the rareseg developers, Apache-2.0"  # noqa: A001 - Sphinx calls it so
version = release = rareseg.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

# The table of contents names pages that other branches bring; tests hold it against what is there.
suppress_warnings = ["toc.not_readable"]

myst_heading_anchors = 3
highlight_language = "text"

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = "rareseg"
html_copy_source = False
html_show_sphinx = False
