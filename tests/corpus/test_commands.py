"""Every command that reads files, over the corpus: one sentence, the right exit code, no more.

An unexpected error passes through `call` as it is and fails the test. What lies outside of --out,
and outside of the run that a command may write to, is compared before and after.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from corpus.command_calls import (
    TAKES,
    WRITES,
    Taking,
    arguments,
    commands,
    path_parameters,
    takings,
)
from corpus.faulty_data import CASES, DATA, RECIPES, SPLITS, SPOILS, FaultyData, FaultyText, whole
from corpus.faulty_files import FILES
from corpus.finished_run import make_run

SECONDS = 30
SERVES = ("review", "serve")
OF_DATA = [taking for taking in takings() if TAKES.get(taking.parameter) == "data"]
OF_RUN = [taking for taking in takings() if TAKES.get(taking.parameter) == "run"]
LOOKS_AT_LESS = ("consensus", "references")
"""What stops before the faulty file: at data without annotators, at scores of other cases."""
HAVE_CLASSES = ("tune", "evaluate")
"""Commands that take the classes of a run, whatever numbers the data declare."""
SETTING = r"\b(recipe|network|training|loss)[.:]"
"""A sentence may name the setting in place of the file."""


@pytest.fixture(scope="module")
def good(call, tmp_path_factory) -> dict[str, Path]:
    """A whole input of each kind: data, a finished run on them, its scores and an evaluation."""
    place = tmp_path_factory.mktemp("good")
    data, run = make_run(place)
    steps = [
        ("predict", run, data / "images", "--out", place / "scores", "--probabilities"),
        ("evaluate", run, data, "--out", place / "evaluation"),
        ("audit", data, "--out", place / "audit"),
    ]
    for step in steps:
        called = call(*step)
        assert called.code in (0, 1), called.err
        assert called.code == 0 or step[0] == "audit", called.err
    probabilities = next((place / "scores").rglob("*probabilit*"), place / "scores")
    recipe = place / "recipe.yaml"
    recipe.write_text("training:\n  steps: 2\n", encoding="utf-8")
    return {
        "data": data,
        "images": data / "images",
        "run": run,
        "recipe": recipe,
        "split": run / "split.csv",
        "scores": probabilities if probabilities.is_dir() else place / "scores",
        "folder": place / "evaluation",
    }


class TooLongError(BaseException):
    """No Exception, which a reader's guard would turn into a sentence."""


@contextmanager
def limited(seconds: int = SECONDS) -> Iterator[None]:
    """Stop a call that takes longer, as one that reads from a pipe does."""

    def stop(*_: object) -> None:
        raise TooLongError(f"it took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def ended_by_ctrl_c(command: str) -> Iterator[None]:
    """Press Ctrl-C where the command serves a page, as its user does."""
    if command not in SERVES:
        yield
        return
    ended = threading.Event()

    def press() -> None:
        """Wait until the link is printed: before that Ctrl-C would end something else."""
        while not ended.wait(0.05):
            said = getattr(sys.stdout, "getvalue", str)()
            if "http://" in said:
                time.sleep(0.2)
                os.kill(os.getpid(), signal.SIGINT)
                return

    watching = threading.Thread(target=press, daemon=True)
    watching.start()
    try:
        yield
    finally:
        ended.set()
        watching.join()


def seen(place: Path, *but: Path) -> dict[Path, tuple[int, int]]:
    """Return size and time of all that lies in a folder but for some parts of it."""
    found = {}
    for here, below, files in os.walk(place):
        folder = Path(here)
        below[:] = [name for name in below if folder / name not in but]
        found |= dict.fromkeys((folder / name for name in below), (0, 0))
        for path in (folder / name for name in files if folder / name not in but):
            about = path.lstat()
            found[path] = about.st_size, about.st_mtime_ns
    return found


def run_over(call, taking: Taking, given: Path, good: dict[str, Path], place: Path, *but: Path):
    """Call a command with one input; returns what it said and its exit code."""
    out = place / "written"
    shutil.rmtree(out, ignore_errors=True)
    before = seen(place, out, *but), seen(good["data"].parent, good["run"])
    words = arguments(taking, given, good, out)
    with limited(), ended_by_ctrl_c(taking.command):
        called = call(*words)
    said = called.out + called.err
    assert called.code in (0, 1, 2), said
    assert "Traceback" not in said
    ours = set(place.glob("written*"))
    after = seen(place, out, *but)
    after = {path: about for path, about in after.items() if path not in ours}
    assert (after, seen(good["data"].parent, good["run"])) == before, "written outside of --out"
    assert called.code == 0 or called.err.strip(), "an exit code without a word"
    return called


def plain(text: str) -> str:
    return " ".join(text.split())


def make(entry: FaultyData, tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return entry.make(folder)


def test_every_parameter_that_is_a_path_is_known():
    """A new one is named in TAKES or WRITES of tests/corpus/command_calls.py."""
    unknown = {
        f"{command}: {name}"
        for command in commands()
        for name in path_parameters(command)
        if name not in TAKES and name not in WRITES
    }
    assert unknown == set()


@pytest.mark.parametrize("entry", DATA, ids=lambda entry: entry.name)
def test_inspect_says_what_is_wrong(entry, call, good, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    called = run_over(call, Taking("inspect", "data", ""), make(entry, tmp_path), good, tmp_path)
    said = plain(called.out + called.err)
    if entry.says is None:
        assert f"{entry.cases} case" in said, said
    else:
        assert called.code, said
        assert re.search(entry.says, said), said
        assert entry.named in said, said


REFUSED = [entry for entry in DATA if entry.says is not None]


@pytest.mark.slow
@pytest.mark.parametrize("taking", OF_DATA, ids=lambda t: f"{t.command}-{t.parameter}")
def test_commands_refuse_data(taking, call, good, tmp_path, monkeypatch):
    if (taking.command, taking.parameter) == ("inspect", "data"):
        return  # above
    monkeypatch.chdir(tmp_path)
    for number, entry in enumerate(REFUSED):
        place = tmp_path / str(number)
        place.mkdir()
        given = make(entry, place)
        called = run_over(call, taking, given, good, place, good["run"])
        said = plain(called.out + called.err)
        if entry.name.startswith("label_") and taking.command in HAVE_CLASSES:
            continue
        assert called.code, f"{entry.name}: {said}"
        if taking.parameter not in LOOKS_AT_LESS and taking.command not in LOOKS_AT_LESS:
            assert entry.named in said, f"{entry.name}: {said}"


@pytest.mark.parametrize("entry", DATA, ids=lambda entry: entry.name)
def test_predict_writes_within_its_folder(entry, call, good, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    taking = Taking("predict", "images", "")
    run_over(call, taking, make(entry, tmp_path), good, tmp_path)


def test_all_faulty_images_in_one_folder_are_named_and_the_others_predicted(
    call, good, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    refused = [
        entry
        for entry in FILES
        if entry.is_refused
        and entry.role == "image"
        and (not entry.needs or find_spec(entry.needs))
    ]
    folder = whole(tmp_path / "data") / "images"
    for number, entry in enumerate(refused):
        place = folder / f"f{number}"
        place.mkdir()
        for name, content in entry.files().items():
            (place / name).write_bytes(content)
    out = tmp_path / "written"
    with limited(4 * SECONDS):
        called = call("predict", good["run"], folder, "--out", out, "--json")
    assert called.code == 1
    failed = json.dumps(json.loads(called.out)["failures"])
    lost = [
        entry.name
        for number, entry in enumerate(refused)
        if entry.name not in failed and f'"f{number}"' not in failed  # a folder of DICOM
    ]
    assert lost == []
    assert len(list(out.glob("c*.png"))) == CASES


@pytest.mark.parametrize("text", RECIPES, ids=lambda text: text.name)
def test_recipes(text, call, good, tmp_path, monkeypatch):
    check_texts("recipe", text, call, good, tmp_path, monkeypatch)


@pytest.mark.parametrize("text", SPLITS, ids=lambda text: text.name)
def test_splits(text, call, good, tmp_path, monkeypatch):
    check_texts("split", text, call, good, tmp_path, monkeypatch)


def check_texts(kind: str, text: FaultyText, call, good, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / text.name
    path.write_bytes(text.content if isinstance(text.content, bytes) else text.content.encode())
    for taking in takings():
        if TAKES.get(taking.parameter) != kind or text.says is None:
            continue
        called = run_over(call, taking, path, good, tmp_path)
        said = plain(called.out + called.err)
        assert called.code, f"{taking.command}: {said}"
        assert re.search(text.says, said)
        assert text.name in said or re.search(SETTING, said), f"{taking.command}: {said}"


def files_of_run(run: Path) -> list[str]:
    return sorted(path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file())


@pytest.mark.slow
@pytest.mark.parametrize("taking", OF_RUN, ids=lambda t: t.command)
def test_commands_refuse_a_damaged_run(taking, call, good, tmp_path, monkeypatch):
    """One file after the other is spoilt, in turns of SPOILS; a file may not be needed."""
    monkeypatch.chdir(tmp_path)
    names, spoils = files_of_run(good["run"]), list(SPOILS.items())
    turn = sorted(commands()).index(taking.command)
    for number, name in enumerate(names):
        how, spoil = spoils[(number + 3 * turn) % len(spoils)]
        place = tmp_path / str(number)
        run = place / "run"
        shutil.copytree(good["run"], run)
        content = spoil((run / name).read_bytes())
        (run / name).unlink() if content is None else (run / name).write_bytes(content)
        called = run_over(call, taking, run, good, place, run)
        said = plain(called.out + called.err)
        if called.code and "pip install" not in said:  # a command of an extra
            assert Path(name).name in said or str(run) in said, f"{name} {how}: {said}"
        shutil.rmtree(place)
