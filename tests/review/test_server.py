"""The server answers this machine alone, and nobody without the link; and it never sends a lot."""

import json
import re
import socket
from dataclasses import replace
from urllib.parse import quote

import pytest

from rareseg.quality.suspects import load_suspects, save_suspects
from rareseg.review.open_review import open_page_api
from rareseg.review.page_api import PAGE
from rareseg.review.server import ADDRESS, MOST_BYTES, TOKEN_HEADER, ReviewServer

PATHS = ["/", "/api/items", "/api/item?id=x", "/api/plane?item=x", "/api/agreement", "/nothing"]
DECIDING = {"item": "", "reviewer": "Ada", "verdict": "accept label"}


def an_item(client) -> str:
    return client.get("/api/items")["rows"][0]["id"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("token", [None, "", "wrong", "wröng".encode().decode("latin-1")])
def test_without_the_token_nothing_is_answered(client, path, token):
    status, body, _ = client.ask("GET", path, token=token)
    assert status == 403
    assert client.server.token.encode() not in body


@pytest.mark.parametrize("path", ["/?token=", "/?token=wrong", "/?token=wrong&token=", "/?x"])
def test_a_wrong_link_opens_nothing(client, path):
    assert client.ask("GET", path, token=None)[0] == 403


def test_the_link_opens_the_page_and_a_part_of_the_token_does_not(client):
    path = "/" + client.server.link.partition("/?")[2].join(["?", ""])
    assert client.ask("GET", path, token=None)[0] == 200
    assert client.ask("GET", path[:-1], token=None)[0] == 403
    assert client.ask("GET", path + "a", token=None)[0] == 403


@pytest.mark.parametrize("method", ["HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_other_methods_are_refused_with_and_without_the_token(client, method):
    assert client.ask(method, "/", token=None)[0] == 403
    assert client.ask(method, "/")[0] == 405


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "10.0.0.7", "localhost.evil"],
)
def test_another_host_is_refused_even_with_the_token(client, host):
    assert client.ask("GET", "/", Host=host)[0] == 403
    body = json.dumps({**DECIDING, "item": an_item(client)})
    sent = client.ask(
        "POST", "/api/decisions", body=body, Host=host, Content_Type="application/json"
    )
    assert sent[0] == 403
    assert client.server.api.answers.log() == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1:1", "localhost", "LOCALHOST:9000", "[::1]:80", "[::1]"]
)
def test_this_machine_by_any_of_its_names_and_ports_is_answered(client, host):
    assert client.ask("GET", "/api/items", Host=host)[0] == 200


def test_it_listens_on_this_machine_alone(client):
    assert client.server.server_address[0] == ADDRESS == "127.0.0.1"


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd",
        "/..%2f..%2f..%2fetc%2fpasswd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/templates/review.js",
        "/run.json",
        "/api/items/../../run.json",
        "file:///etc/passwd",
    ],
)
def test_no_path_leads_to_a_file(client, path):
    status, body, _ = client.ask("GET", path)
    assert status == 404
    assert body == b"There is nothing here.\n"


@pytest.mark.parametrize("name", ["../../run", "..%2f..%2frun", "/etc/passwd", "x'--", "\x00"])
def test_no_item_leads_to_a_file(client, name):
    for path in (f"/api/item?id={quote(name)}", f"/api/plane?item={quote(name)}&plane=0"):
        status, body, _ = client.ask("GET", path)
        assert status == 400
        assert b"There is no item" in body


def test_decisions_need_the_header_the_origin_and_json(client):
    body = json.dumps({**DECIDING, "item": an_item(client)})
    json_type = {"Content_Type": "application/json"}
    host = f"127.0.0.1:{client.server.server_address[1]}"

    def post(path="/api/decisions", **headers):
        return client.ask("POST", path, body=body, **headers)[0]

    with_token = f"/api/decisions?token={client.server.token}"
    assert post(with_token, token=None, **json_type) == 403  # what a forged form could send
    assert post(Content_Type="application/x-www-form-urlencoded") == 415
    assert post(Content_Type="text/plain") == 415
    assert post(**json_type, Origin="http://evil.example") == 403
    assert post(**json_type, Origin="null") == 403
    assert post(**json_type, Origin=f"http://{host}0") == 403
    assert client.ask("GET", "/api/decisions?" + "&".join(DECIDING))[0] == 404
    assert client.server.api.answers.log() == []
    assert post(**json_type, Origin=f"http://{host}") == 200
    assert len(client.server.api.answers.log()) == 1


@pytest.mark.parametrize(
    "body",
    ["", "{", "[]", '"x"', "{}", '{"item": 1, "reviewer": "A", "verdict": "unsure"}', "\xff"],
)
def test_what_is_no_decision_is_refused_in_a_sentence(client, body):
    answer = client.ask("POST", "/api/decisions", body=body, Content_Type="application/json")
    assert answer[0] == 400
    assert json.loads(answer[1])["error"].endswith(".")
    assert client.server.api.answers.log() == []


@pytest.mark.parametrize("change", [{"verdict": "delete"}, {"reviewer": " "}, {"item": "nobody"}])
def test_an_impossible_decision_is_refused(client, change):
    status, answer = client.post("/api/decisions", {**DECIDING, "item": an_item(client), **change})
    assert status == 400
    assert answer["error"]
    assert client.server.api.answers.log() == []


@pytest.mark.parametrize("length", ["", "-1", "abc", str(MOST_BYTES + 1), "²"])
def test_a_decision_without_a_sound_length_is_refused(client, length):
    head = (
        f"POST /api/decisions HTTP/1.1\r\nHost: 127.0.0.1\r\n{TOKEN_HEADER}: {client.server.token}"
        f"\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )
    with socket.create_connection(client.server.server_address, timeout=30) as connection:
        connection.sendall(head.encode("latin-1", "replace"))
        answer = connection.recv(64)
    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("query", ["plane=-1", "plane=1", "channel=1", "channel=-1", "plane=x"])
def test_a_slice_that_is_not_there_is_refused(client, query):
    status, body, _ = client.ask("GET", f"/api/plane?item={an_item(client)}&{query}")
    assert status == 400
    assert json.loads(body)["error"]


def test_the_page_may_load_nothing_and_names_nobody_else(client):
    status, body, headers = client.ask("GET", "/")
    page, policy = body.decode(), headers["Content-Security-Policy"]
    assert status == 200
    (nonce,) = set(re.findall(r"'nonce-([\w-]+)'", policy))
    assert policy.startswith("default-src 'none'; ")
    assert "connect-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'none'" in policy
    assert not re.search(r"https?:|unsafe|\*", policy)
    assert not re.search(r"(?:src|href)\s*=\s*[\"']?(?:https?:)?//|@import|url\(", page)
    assert set(re.findall(r"<(?:script|style)[^>]*nonce=\"([\w-]+)\"", page)) == {nonce}
    assert not re.search(r"<(?:script|style)(?![^>]*nonce)", page)
    assert not re.search(r"\son\w+=|\sstyle=", page)
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    again = client.ask("GET", "/")[2]["Content-Security-Policy"]
    assert nonce not in again


def test_each_server_has_a_token_of_its_own_that_nobody_guesses(client):
    api = client.server.api
    with ReviewServer(api) as one, ReviewServer(api) as other:
        assert one.token != other.token
        assert len(one.token) >= 43  # 256 bits


def test_names_and_reasons_are_text_on_the_page(run, serve):
    suspects = load_suspects(run / "suspects.json")
    evil = "</script><script>alert(1)</script>"
    (run / "suspects.json").unlink()
    save_suspects(run / "suspects.json", [replace(suspects[0], reason=evil)])
    client = serve(open_page_api(run), reviewer=evil[:40])
    page = client.ask("GET", "/")[1].decode()
    assert "<script>alert" not in page


def test_a_second_reviewer_decides_alone_and_is_told_afterwards(client):
    item = an_item(client)
    said = {"item": item, "verdict": "accept label"}
    assert client.post("/api/decisions", {**said, "reviewer": "Ada", "note": "sure"})[0] == 200
    detail = client.get(f"/api/item?id={item}&reviewer=Bo")
    assert (detail["mine"], detail["others"], detail["n_others"]) == (None, [], 1)
    assert "Ada" not in json.dumps(detail)
    row = client.get("/api/items?reviewer=Bo")["rows"][0]
    assert (row["mine"], row["differs"]) == (None, False)
    other = {**said, "reviewer": " Bo ", "verdict": "exclude case"}
    answer = client.post("/api/decisions", other)[1]
    assert answer["progress"]["decided"] == 1
    assert answer["progress"]["differ"] == 1
    detail = client.get(f"/api/item?id={item}&reviewer=Bo")
    assert detail["mine"]["verdict"] == "exclude case"
    assert [(one["reviewer"], one["note"]) for one in detail["others"]] == [("Ada", "sure")]
    listed = client.get("/api/items?reviewer=Bo&shown=disagreements")
    assert [row["id"] for row in listed["rows"]] == [item]
    agreement = client.get("/api/agreement")
    assert (agreement["reviewers"], agreement["share"]) == (["Ada", "Bo"], 0.0)
    assert client.post("/api/undo", {"reviewer": "Bo"})[1]["item"] == item
    assert client.get(f"/api/item?id={item}&reviewer=Bo")["others"] == []
    assert client.post("/api/undo", {"reviewer": "Bo"})[1]["item"] is None


def test_filters_and_neighbours_go_through_the_list_in_order(client):
    rows = client.get("/api/items")["rows"]
    kind = rows[-1]["kind"]
    of_kind = [row["id"] for row in rows if row["kind"] == kind]
    quoted = quote(kind)
    assert [r["id"] for r in client.get(f"/api/items?kind={quoted}")["rows"]] == of_kind
    client.post("/api/decisions", {**DECIDING, "item": rows[1]["id"]})
    left = client.get("/api/items?reviewer=Ada&shown=undecided")
    assert left["total"] == len(rows) - 1
    asked = "/api/neighbour?reviewer=Ada&shown=undecided&item="
    assert client.get(asked + rows[0]["id"])["id"] == rows[2]["id"]
    assert client.get(asked + rows[1]["id"])["id"] == rows[2]["id"]
    assert client.get(asked + rows[2]["id"] + "&back=yes")["id"] == rows[0]["id"]
    assert client.get(asked + rows[0]["id"] + "&back=yes")["id"] is None
    assert client.get(asked + rows[-1]["id"])["id"] is None
    assert client.get(asked)["id"] == rows[0]["id"]
    assert client.ask("GET", "/api/items?shown=strange")[0] == 400


def test_ten_thousand_suspects_are_sent_a_page_at_a_time_and_no_case_is_read(run, serve):
    first = load_suspects(run / "suspects.json")[0]
    many = [replace(first, id=f"s{k}", score=1 - k / 1e4) for k in range(10_000)]
    save_suspects(run / "suspects.json", many)
    client = serve(open_page_api(run))
    api = client.server.api
    total = len(api.items.items)
    assert total >= 10_000
    page = client.ask("GET", "/")[1]
    assert len(page) < 100_000  # the page itself holds no item
    seen = []
    while len(seen) < total:
        status, body, _ = client.ask("GET", f"/api/items?reviewer=Ada&offset={len(seen)}")
        assert status == 200
        assert len(body) < 20_000
        rows = json.loads(body)["rows"]
        assert 0 < len(rows) <= PAGE
        seen += [row["position"] for row in rows]
        if len(seen) == 2 * PAGE:
            seen += range(len(seen) + 1, total - total % PAGE + 1)  # and then the last page
    assert seen == list(range(1, total + 1))
    around = client.get("/api/items?around=s7777")
    assert "s7777" in [row["id"] for row in around["rows"]]
    assert around["offset"] == 7750
    assert client.get("/api/items?offset=999999")["rows"][-1]["position"] == total
    client.post("/api/decisions", {**DECIDING, "item": "s7777"})
    asked = "/api/neighbour?reviewer=Ada&shown=undecided&item=s7776"
    assert client.get(asked)["id"] == "s7778"
    assert api.cases.nbytes == 0
    client.get("/api/item?id=s7777&reviewer=Ada")
    assert api.cases.nbytes > 0


def test_a_case_that_cannot_be_read_is_an_error_in_a_sentence(run, serve, monkeypatch):
    api = open_page_api(run)
    client = serve(api)
    item = api.items.items[0]
    case = api.cases._cases[item.case_id]
    api.cases._cases[item.case_id] = replace(case, images=(run / "gone.png",))
    status, body, _ = client.ask("GET", f"/api/item?id={item.id}")
    assert status == 500
    assert "gone.png does not exist" in json.loads(body)["error"]


def test_after_a_note_that_no_file_can_hold_decisions_are_taken_as_before(client):
    decision = {**DECIDING, "item": an_item(client)}
    status, said = client.post("/api/decisions", {**decision, "note": "\ud800"})
    assert status == 400
    assert "half a character" in said["error"]
    assert client.post("/api/decisions", decision)[0] == 200


def test_what_is_nested_without_end_is_no_json(client):
    status, body, _ = client.ask(
        "POST", "/api/decisions", body="[" * 60_000, Content_Type="application/json"
    )
    assert status == 400
    assert b"no JSON" in body


def test_a_fault_within_is_answered_and_the_server_goes_on(client, monkeypatch):
    def fail(self, *arguments, **words):
        raise KeyError("inner")

    decision = {**DECIDING, "item": an_item(client)}
    with monkeypatch.context() as broken:
        broken.setattr("rareseg.review.page_api.PageApi.decide", fail)
        status, said = client.post("/api/decisions", decision)
    assert status == 500
    assert "by a fault of rareseg (KeyError: 'inner')" in said["error"]
    assert client.post("/api/decisions", decision)[0] == 200
