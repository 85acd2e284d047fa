"""How Sphinx makes the site of these pages: `make docs`, without any network."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import rareseg
import rareseg.prediction.networks
import rareseg.training.losses  # both register sections of the recipe
from rareseg.evaluation.measures.measure_table import MEASURES
from rareseg.recipe import FAMILIES, Recipe

project = "rareseg"
author = "the rareseg developers"
copyright = "the rareseg developers, Apache-2.0"  # noqa: A001 - Sphinx calls it so
version = release = rareseg.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

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


def setting_lines(name: str, section: Any, heading: str) -> list[str]:
    """Return one section of the recipe as a heading, a sentence and a table in Markdown."""
    lines = [heading, "", section.__doc__.strip(), "", "| setting | usual | meaning |"]
    lines.append("|---|---|---|")
    for key, known in section.model_fields.items():
        usual = "null" if known.default is None else str(known.default)
        meaning = (known.description or "").replace("|", "\\|")
        lines.append(f"| `{name}.{key}` | `{usual}` | {meaning} |")
    return [*lines, ""]


def family_lines(place: str) -> list[str]:
    """Return the sections of which one stands at a place of the recipe, each with its table."""
    family = FAMILIES[place]
    lines = [f"## {place}", "", f"One of these, by `{place}.name`.", ""]
    for name in family.names:
        lines += setting_lines(place, family.member(name), f"### {place}: {name}")
    return lines


class Settings(SphinxDirective):
    """Write down every setting of the recipe, as the code has it."""

    def run(self) -> list[nodes.Node]:
        """Return the sections with their tables."""
        lines = [
            line
            for name, known in Recipe.model_fields.items()
            for line in (
                family_lines(name)
                if name in FAMILIES
                else setting_lines(name, known.annotation, f"## {name}")
            )
        ]
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


def measure_lines() -> list[str]:
    """Return every measure as a line of a table in Markdown."""
    lines = ["| column | called | definition | over | interval | better | source |"]
    lines.append("|---|---|---|---|---|---|---|")
    for known in MEASURES:
        over = {"all": "all cases", "object": "objects and components"}.get(
            known.stratum, f"{known.stratum} cases"
        )
        better = "more" if known.higher_is_better else "less"
        row = (known.title, known.definition, over, known.interval, better, known.source)
        cells = (f"`{known.name}`", *(text.replace("|", "\\|") for text in row))
        lines.append(f"| {' | '.join(cells)} |")
    return lines


class Measures(SphinxDirective):
    """Write down every measure, as the code has it."""

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        return self.parse_text_to_nodes("\n".join(measure_lines()))


def setup(app: Sphinx) -> None:
    """Tell Sphinx of the directives."""
    app.add_directive("settings", Settings)
    app.add_directive("measures", Measures)
