"""Make the review page: one HTML file that loads nothing from elsewhere."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rareseg.review.answers import Verdict

STYLE = ("rareseg.report", "page.css")
"""The reports' style sheet: the page has their colours, in the light and in the dark."""

MEANINGS: Mapping[Verdict, str] = {
    "accept label": "it is right as it is",
    "accept prediction": "the tinted voxels becomes what is predicted",
    "exclude case": "the whole case is left out",
    "ignore region": "the tinted voxels count nowhere",
    "unsure": "no vote; the item is listed as open",
}


@dataclass(frozen=True)
class Page:
    """The page as HTML, and the content security policy that belongs to it."""

    html: str
    policy: str


def render_page(about: Mapping[str, Any], token: str, reviewer: str) -> Page:
    """Return the page of a room (:meth:`rareseg.review.page_api.PageApi.about`).

    ``reviewer`` is the name to begin with, or empty: then the page asks. The policy allows this
    page's own style and script, by a number used once, and requests to its own server.
    """
    nonce = secrets.token_urlsafe(16)
    environment = Environment(
        loader=PackageLoader("rareseg.review"), autoescape=True, undefined=StrictUndefined
    )
    html = environment.get_template("review.html.j2").render(
        about=about,
        meanings=MEANINGS,
        start={"token": token, "reviewer": reviewer, **about},
        nonce=nonce,
        css=_asset(*STYLE) + _asset("rareseg.review", "review.css"),
        script=_asset("rareseg.review", "review.js"),
    )
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src 'nonce-{nonce}'",
            f"style-src 'nonce-{nonce}'",
            "img-src data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
    return Page(html, policy)


def _asset(package: str, name: str) -> Markup:
    text = files(package).joinpath("templates", name).read_text(encoding="utf-8")
    return Markup(text)  # noqa: S704 - the package's own file, not a user's text
