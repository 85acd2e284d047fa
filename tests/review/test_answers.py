"""Answers: what counts, what stays in the log, and that a kill loses nothing confirmed."""

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
from rareseg.review.answers import LONGEST_NAME, LONGEST_NOTE, Answers
from rareseg.review.server import TOKEN_HEADER

BOX = ((0, 1), (2, 9), (3, 8))
ITEMS = [
    Suspect(f"i{k}", f"case {k}", None, "core", "missed object", 0.5, BOX, 30, 0, "because")
    for k in range(3)
]


@pytest.fixture
def answers(tmp_path):
    with Answers(tmp_path / "review" / "decisions.sqlite") as opened:
        yield opened


def verdicts(answers):
    return {
        (item, name): answer.verdict
        for item, said in answers.latest().items()
        for name, answer in said.items()
    }


def test_the_last_word_counts_and_the_first_stays_in_the_log(answers):
    answers.record(ITEMS[0], reviewer="Ada", verdict="accept label")
    answers.record(ITEMS[0], reviewer="Ada", verdict="exclude case", note="blurred", seen="p")
    assert verdicts(answers) == {("i0", "Ada"): "exclude case"}
    (answer,) = answers.latest()["i0"].values()
    assert (answer.item, answer.note, answer.seen) == (ITEMS[0], "blurred", "p")
    assert [line["verdict"] for line in answers.log()] == ["accept label", "exclude case"]


def test_undoing_brings_back_what_was_said_before_and_is_a_line_of_its_own(answers):
    for item, verdict in ((0, "accept label"), (1, "unsure"), (0, "exclude case")):
        answers.record(ITEMS[item], reviewer="Ada", verdict=verdict)
    answers.record(ITEMS[2], reviewer="Bo", verdict="unsure")
    assert answers.undo("Ada") == "i0"
    assert verdicts(answers)["i0", "Ada"] == "accept label"
    assert answers.undo("Ada") == "i1"
    assert ("i1", "Ada") not in verdicts(answers)
    assert answers.undo("Ada") == "i0"
    assert answers.undo("Ada") is None
    assert verdicts(answers) == {("i2", "Bo"): "unsure"}
    assert [line["undoes"] for line in answers.log()] == [None] * 4 + [3, 2, 1]


def test_two_processes_that_review_at_once_see_each_other(answers):
    with Answers(answers.path) as other:
        answers.record(ITEMS[0], reviewer="Ada", verdict="accept label")
        other.record(ITEMS[0], reviewer="Bo", verdict="unsure")
        expected = {("i0", "Ada"): "accept label", ("i0", "Bo"): "unsure"}
        assert verdicts(answers) == verdicts(other) == expected
        other.undo("Ada")
        assert verdicts(answers) == {("i0", "Bo"): "unsure"}


def test_many_threads_lose_no_decision(answers):
    def work(name):
        for _ in range(20):
            answers.record(ITEMS[0], reviewer=name, verdict="unsure")

    threads = [threading.Thread(target=work, args=(f"r{k}",)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers.log()) == 80
    assert len(answers.latest()["i0"]) == 4


def test_a_commit_is_on_the_disk_when_it_returns(answers):
    assert answers._base.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert answers._base.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


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
def test_what_no_reviewer_says_is_refused_and_not_stored(answers, words):
    with pytest.raises(UsageError):
        answers.record(ITEMS[0], **{"reviewer": "Ada", "verdict": "unsure", **words})
    assert answers.log() == []


def test_another_file_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "decisions.sqlite"
    path.write_text("no database, but somebody's notes of many weeks" * 40)
    before = path.read_bytes()
    with pytest.raises(RunError, match="cannot be opened as a database of decisions"):
        Answers(path)
    assert path.read_bytes() == before


def test_a_later_version_is_refused(answers):
    answers._base.execute("PRAGMA user_version = 9")
    with pytest.raises(RunError, match="version 9"):
        Answers(answers.path)


def test_whatever_interrupts_a_decision_the_next_one_is_stored(answers):
    with pytest.raises(UnicodeEncodeError):  # no file holds half a character; sqlite says so late
        answers.record(ITEMS[0], reviewer="Ada", verdict="unsure", seen="\ud800")
    answers.record(ITEMS[1], reviewer="Ada", verdict="unsure")
    assert verdicts(answers) == {("i1", "Ada"): "unsure"}


def test_a_damaged_line_is_named(answers):
    answers.record(ITEMS[0], reviewer="Ada", verdict="unsure")
    answers._base.execute("UPDATE decisions SET about = '{'")
    with pytest.raises(RunError, match="decision 1 is damaged"):
        answers.latest()


def test_a_database_that_another_process_holds_is_said_to_be(tmp_path, monkeypatch):
    path = tmp_path / "decisions.sqlite"
    monkeypatch.setattr("rareseg.review.answers._WAIT_SECONDS", 0.1)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(RunError, match="is held by another process"):
        Answers(path)
    other.close()


def test_a_second_review_of_a_run_says_who_has_it_and_ends(run, call):
    command = [sys.executable, "-m", "rareseg", "review", run, "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as first:
        while not (line := first.stdout.readline()).startswith("http"):
            assert line, "the server ended before it began"
        second = call("review", run, "--no-browser")
        applied = call("apply-review", run, "--out", run / "reviewed")
        first.terminate()
    assert second.code == 1
    assert f"is written to by process {first.pid} on" in second.err
    assert len(second.err.strip().splitlines()) == 1
    assert "holds no decision" in applied.err  # it only reads, and is kept off nothing


CONFIRMED = 30
"""Answers that are answered before the server is killed."""


def test_a_killed_server_has_kept_every_decision_that_it_confirmed(run):
    suspects = load_suspects(run / "suspects.json")
    command = [sys.executable, "-m", "rareseg", "review", run, "--no-browser", "--json"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8")
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
    with Answers(path) as answers:
        kept = {(line["reviewer"], line["item"], line["note"]) for line in answers.log()}
    assert set(confirmed) <= kept
    assert len(kept) <= len(confirmed) + 4  # at most the one in flight of each
    base = sqlite3.connect(path)
    assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    base.close()
