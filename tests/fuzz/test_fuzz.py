"""Two hundred inputs, the same ones each time; `python -m fuzz` tries as many others as asked."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter

import pytest
from hypothesis import strategies as st

from corpus.finished_run import make_run
from fuzz.campaign import run_campaign
from fuzz.planted import try_brightest, try_planted
from fuzz.targets import Tried, inputs
from fuzz.worker import Worker

INPUTS = 200


@pytest.fixture(scope="module")
def worker_path():
    """A worker is a new process, which finds these modules where the tests do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        yield


@pytest.mark.usefixtures("worker_path")
def test_no_input_breaks_a_reader(tmp_path):
    data, run = make_run(tmp_path / "made")
    campaign = run_campaign(INPUTS, inputs(run), Worker(run, data), first_seed=20_260_101)
    campaign.save(tmp_path / "failures")
    kinds = Counter(target.split()[0] for target, _ in campaign.by_target.elements())
    assert campaign.tried == INPUTS
    assert campaign.counts["read"] > 10, "inputs that are all refused test little"
    assert set(kinds) == {"file", "text", "run"}
    assert campaign.faults == 0, "\n".join(campaign.lines())


@pytest.mark.slow
@pytest.mark.usefixtures("worker_path")
def test_planted_faults_are_seen_and_the_worker_goes_on(tmp_path):
    worker = Worker(tmp_path, tmp_path, trying=try_planted, seconds=2)
    words = (b"raise", b"sleep", b"memory", b"outside", b"die", b"nothing")
    found = [worker.try_input(Tried("planted", "a.bin", word)).kind for word in words]
    worker.close()
    assert found == ["traceback", "hang", "memory", "outside", "died", "read"]


@pytest.mark.usefixtures("worker_path")
def test_the_smallest_failing_input_is_written(tmp_path):
    strategy = st.binary(max_size=40).map(lambda content: Tried("planted", "a.bin", content))
    worker = Worker(tmp_path, tmp_path, trying=try_brightest)
    campaign = run_campaign(300, strategy, worker, first_seed=1)
    campaign.save(tmp_path / "failures")
    (folder,) = (tmp_path / "failures").iterdir()
    assert (folder / "a.bin").read_bytes() == b"\xff"
    assert json.loads((folder / "about.json").read_text(encoding="utf-8"))["file"] == "a.bin"
    assert campaign.counts["traceback"] >= 1
    assert campaign.tried == 300
