"""Decisions: what counts, what stays in the log, and that a kill loses nothing confirmed."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from http.client import HTTPConnection, HTTPException
from urllib.parse import parse_qs, urlsplit

import pytest

from rareseg.errors import RunError, UsageError
from rareseg.quality.suspects import Suspect, load_suspects
from rareseg.review.decisions import LONGEST_NAME, LONGEST_NOTE, Decisions
from rareseg.review.server import TOKEN_HEADER

BOX = ((0, 1), (2, 9), (3, 8))
ITEMS = [
    Suspect(f"i{k}", f"case {k}", None, "core", "missed lesion", 0.5, BOX, 30, 0, "because")
    for k in range(3)
]


@pytest.fixture
def decisions(tmp_path):
    with Decisions(tmp_path / "review" / "decisions.sqlite") as opened:
        yield opened


def verdicts(decisions):
    return {
        (item, name): decision.verdict
        for item, said in decisions.standing().items()
        for name, decision in said.items()
    }


def test_the_last_word_counts_and_the_first_stays_in_the_log(decisions):
    decisions.record(ITEMS[0], reviewer="Ada", verdict="accept label")
    decisions.record(ITEMS[0], reviewer="Ada", verdict="exclude case", note="blurred", seen="p")
    assert verdicts(decisions) == {("i0", "Ada"): "exclude case"}
    (decision,) = decisions.standing()["i0"].values()
    assert (decision.item, decision.note, decision.seen) == (ITEMS[0], "blurred", "p")
    assert [line["verdict"] for line in decisions.log()] == ["accept label", "exclude case"]


def test_undoing_brings_back_what_was_said_before_and_is_a_line_of_its_own(decisions):
    for item, verdict in ((0, "accept label"), (1, "unsure"), (0, "exclude case")):
        decisions.record(ITEMS[item], reviewer="Ada", verdict=verdict)
    decisions.record(ITEMS[2], reviewer="Bo", verdict="unsure")
    assert decisions.undo("Ada") == "i0"
    assert verdicts(decisions)["i0", "Ada"] == "accept label"
    assert decisions.undo("Ada") == "i1"
    assert ("i1", "Ada") not in verdicts(decisions)
    assert decisions.undo("Ada") == "i0"
    assert decisions.undo("Ada") is None
    assert verdicts(decisions) == {("i2", "Bo"): "unsure"}
    assert [line["undoes"] for line in decisions.log()] == [None] * 4 + [3, 2, 1]


def test_two_processes_that_review_at_once_see_each_other(decisions):
    with Decisions(decisions.path) as other:
        decisions.record(ITEMS[0], reviewer="Ada", verdict="accept label")
        other.record(ITEMS[0], reviewer="Bo", verdict="unsure")
        expected = {("i0", "Ada"): "accept label", ("i0", "Bo"): "unsure"}
        assert verdicts(decisions) == verdicts(other) == expected
        other.undo("Ada")
        assert verdicts(decisions) == {("i0", "Bo"): "unsure"}


def test_many_threads_lose_no_decision(decisions):
    def work(name):
        for _ in range(20):
            decisions.record(ITEMS[0], reviewer=name, verdict="unsure")

    threads = [threading.Thread(target=work, args=(f"r{k}",)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(decisions.log()) == 80
    assert len(decisions.standing()["i0"]) == 4


def test_a_commit_is_on_the_disk_when_it_returns(decisions):
    assert decisions._base.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert decisions._base.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


@pytest.mark.parametrize(
    "words",
    [
        {"reviewer": "  "},
        {"reviewer": "x" * (LONGEST_NAME + 1)},
        {"reviewer": "a\x07b"},
        {"verdict": "acept label"},
        {"note": "x" * (LONGEST_NOTE + 1)},
    ],
)
def test_what_no_reviewer_says_is_refused_and_not_stored(decisions, words):
    with pytest.raises(UsageError):
        decisions.record(ITEMS[0], **{"reviewer": "Ada", "verdict": "unsure", **words})
    assert decisions.log() == []


def test_another_file_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "decisions.sqlite"
    path.write_text("no database, but somebody's notes of many weeks" * 40)
    before = path.read_bytes()
    with pytest.raises(RunError, match="cannot be opened as a database of decisions"):
        Decisions(path)
    assert path.read_bytes() == before


def test_a_later_version_is_refused(decisions):
    decisions._base.execute("PRAGMA user_version = 9")
    with pytest.raises(RunError, match="version 9"):
        Decisions(decisions.path)


CONFIRMED = 30
"""Decisions that are answered before the server is killed."""


def test_a_killed_server_has_kept_every_decision_that_it_confirmed(run):
    suspects = load_suspects(run / "suspects.json")
    command = [sys.executable, "-m", "rareseg.cli", "review", run, "--no-browser", "--json"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8")
    try:
        text = ""
        while not text.endswith("}\n"):
            line = server.stdout.readline()
            assert line, "the server ended before it began"
            text += line
        parts = urlsplit(json.loads(text)["link"])
        headers = {
            TOKEN_HEADER: parse_qs(parts.query)["token"][0],
            "Content-Type": "application/json",
        }
        confirmed, enough = [], threading.Event()

        def send(name):
            connection = HTTPConnection("127.0.0.1", parts.port, timeout=60)
            try:
                for number in range(10_000):
                    sent = (name, suspects[number % len(suspects)].id, f"{name} {number}")
                    content = {"reviewer": name, "item": sent[1], "verdict": "unsure"}
                    body = json.dumps({**content, "note": sent[2]})
                    connection.request("POST", "/api/decisions", body, headers)
                    answer = connection.getresponse()
                    assert answer.read()
                    if answer.status == 200:
                        confirmed.append(sent)
                    if len(confirmed) >= CONFIRMED:
                        enough.set()
            except (OSError, HTTPException):
                return  # killed while it was asked

        threads = [threading.Thread(target=send, args=(f"reviewer {k}",)) for k in range(4)]
        for thread in threads:
            thread.start()
        assert enough.wait(120)
        os.kill(server.pid, signal.SIGKILL)  # in the middle of four streams
        for thread in threads:
            thread.join()
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
    assert len(confirmed) >= CONFIRMED
    path = run / "review" / "decisions.sqlite"
    with Decisions(path) as decisions:
        kept = {(line["reviewer"], line["item"], line["note"]) for line in decisions.log()}
    assert set(confirmed) <= kept
    assert len(kept) <= len(confirmed) + 4  # at most the one in flight of each
    base = sqlite3.connect(path)
    assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    base.close()
