"""Serve the review page on this machine alone, behind a secret link.

What it defends against, since any web page in the same browser can send requests to 127.0.0.1:

* another page or process: each request needs the random token, compared in constant time;
* DNS rebinding: the Host must be this machine's own name, whatever address was connected to;
* forged requests: deciding takes POST, JSON and the token in a header, which no form can send;
* foreign content: the page may load nothing, and talk to no one but this server;
* traversal: no path of a request is ever looked up on the disk.
"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from rareseg.errors import RaresegError, UsageError
from rareseg.review.page_api import Filter, PageApi
from rareseg.review.review_page import Page, render_page

ADDRESS = "127.0.0.1"
HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
"""Names of this machine; any port, so that a tunnel from elsewhere works."""

TOKEN_HEADER = "X-Review-Token"  # noqa: S105 - the header's name, no token
MOST_BYTES = 64 * 1024
"""Of a decision, with its note."""

_IDLE_SECONDS = 60

Query = Mapping[str, str]


class ReviewServer(ThreadingHTTPServer):
    """Serves one room on 127.0.0.1; ``port`` 0 takes a free one."""

    daemon_threads = True

    def __init__(self, api: PageApi, *, port: int = 0, reviewer: str = "") -> None:
        self.api = api
        self.reviewer = reviewer
        self.token = secrets.token_urlsafe(32)
        super().__init__((ADDRESS, port), _Handler)

    @property
    def link(self) -> str:
        """The address that opens the page."""
        return f"http://{ADDRESS}:{self.server_address[1]}/?token={self.token}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep silent about browsers that went away; tell of anything else."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "rareseg"
    sys_version = ""
    timeout = _IDLE_SECONDS
    server: ReviewServer

    def do_GET(self) -> None:
        """Answer, or refuse."""
        path, query = self._asked()
        if not self._is_allowed(query):
            return
        api = self.server.api
        if path == "/":
            server = self.server
            self._answer(lambda: render_page(api.about(), server.token, server.reviewer))
            return
        answers: Mapping[str, Callable[[PageApi, Query], Any]] = {
            "/api/items": _items,
            "/api/item": _item,
            "/api/neighbour": _neighbour,
            "/api/agreement": lambda api, query: api.agreement(),
        }
        if path == "/api/plane":
            self._answer(lambda: _plane(api, query))
        elif path in answers:
            self._answer(lambda: answers[path](api, query))
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "There is nothing here.")

    def do_POST(self) -> None:
        """Take a decision, or refuse it."""
        path, _ = self._asked()
        if not self._is_allowed({}):
            return
        origin = self.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != self.headers.get("Host"):
            self._refuse(HTTPStatus.FORBIDDEN, "Decisions are taken from the review page alone.")
            return
        if self.headers.get_content_type() != "application/json":
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "A decision is sent as JSON.")
            return
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdecimal() or int(length) > MOST_BYTES:
            self._refuse(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"A decision states its length and has at most {MOST_BYTES} bytes.",
            )
            return
        body = self.rfile.read(int(length))
        api = self.server.api
        if path == "/api/decisions":
            self._answer(lambda: _decide(api, _json(body)))
        elif path == "/api/undo":
            self._answer(lambda: api.undo(_text(_json(body), "reviewer")))
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "There is nothing here.")

    def _other(self) -> None:
        _, query = self._asked()
        if self._is_allowed(query):
            self._refuse(HTTPStatus.METHOD_NOT_ALLOWED, "This server takes GET and POST.")

    do_HEAD = _other  # noqa: N815 - the base's names
    do_PUT = _other  # noqa: N815
    do_PATCH = _other  # noqa: N815
    do_DELETE = _other  # noqa: N815
    do_OPTIONS = _other  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Keep silent: a line for each slice would hide what matters."""

    def _asked(self) -> tuple[str, dict[str, str]]:
        parts = urlsplit(self.path)
        return parts.path, {name: values[-1] for name, values in parse_qs(parts.query).items()}

    def _is_allowed(self, query: Query) -> bool:
        """Tell whether who asks may; if not, refuse."""
        host = self.headers.get("Host", "")
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        given = self.headers.get(TOKEN_HEADER) or query.get("token", "")
        right = secrets.compare_digest(given.encode(), self.server.token.encode())
        if name.lower() in HOSTS and right:
            return True
        self._refuse(
            HTTPStatus.FORBIDDEN, "This page opens with the link that `rareseg review` printed."
        )
        return False

    def _answer(self, work: Callable[[], Any]) -> None:
        try:
            found = work()
        except UsageError as error:
            self._send_json(HTTPStatus.BAD_REQUEST, {"error": str(error)})
        except RaresegError as error:
            self._send_json(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": str(error)})
        except Exception as error:  # the page says it, and the server answers on
            said = f"This was not done, by a fault of rareseg ({type(error).__name__}: {error})."
            self._send_json(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": said})
        else:
            if isinstance(found, Page):
                self._send_page(found)
            elif isinstance(found, bytes):
                self._send(HTTPStatus.OK, found, "application/octet-stream")
            else:
                self._send_json(HTTPStatus.OK, found)

    def _send_page(self, page: Page) -> None:
        policy = {"Content-Security-Policy": page.policy}
        self._send(HTTPStatus.OK, page.html.encode(), "text/html; charset=utf-8", policy)

    def _send_json(self, status: HTTPStatus, content: Any) -> None:
        body = json.dumps(content, ensure_ascii=False, allow_nan=False).encode()
        self._send(status, body, "application/json; charset=utf-8")

    def _refuse(self, status: HTTPStatus, sentence: str) -> None:
        # What was sent along is left unread, so that the connection cannot go on.
        self.close_connection = True
        self._send(status, (sentence + "\n").encode(), "text/plain; charset=utf-8")

    def _send(
        self,
        status: HTTPStatus,
        body: bytes,
        kind: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.send_response(status)
        common = {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Content-Security-Policy": "default-src 'none'",
            **({"Connection": "close"} if self.close_connection else {}),
            **(headers or {}),
        }
        for name, value in common.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _filter(query: Query) -> Filter:
    return Filter.of(query.get("reviewer", ""), query.get("kind", ""), query.get("shown", "all"))


def _items(api: PageApi, query: Query) -> Any:
    offset = _number(query, "offset", 0)
    return api.listed(_filter(query), offset=offset, around=query.get("around", ""))


def _neighbour(api: PageApi, query: Query) -> Any:
    back = query.get("back") == "yes"
    return {"id": api.neighbour(_filter(query), query.get("item", ""), back=back)}


def _item(api: PageApi, query: Query) -> Any:
    return api.detail(query.get("id", ""), query.get("reviewer", ""))


def _plane(api: PageApi, query: Query) -> bytes:
    return api.plane(
        query.get("item", ""),
        plane=_number(query, "plane", 0),
        channel=_number(query, "channel", 0),
    )


def _decide(api: PageApi, content: Mapping[str, Any]) -> Any:
    note = content.get("note", "")
    return api.decide(
        _text(content, "item"),
        _text(content, "reviewer"),
        _text(content, "verdict"),
        note if isinstance(note, str) else "",
    )


def _number(query: Query, name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not text.isascii() or not text.removeprefix("-").isdecimal() or len(text) > 9:
        raise UsageError(f"'{name}' is '{text[:20]}'; a whole number is needed.")
    return int(text)


def _json(body: bytes) -> Mapping[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"What was sent is no JSON ({error}); reload the page.") from error
    if not isinstance(content, dict):
        raise UsageError("What was sent is no JSON object; reload the page.")
    return content


def _text(content: Mapping[str, Any], name: str) -> str:
    value = content.get(name)
    if not isinstance(value, str):
        raise UsageError(f"'{name}' is missing or no text; reload the page.")
    return value
