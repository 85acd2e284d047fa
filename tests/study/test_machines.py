"""Three workers on one PostgreSQL, as three machines are, and one of them killed in mid-cell."""

from __future__ import annotations

import csv
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa

from rareseg.study.job_queue import JobQueue, JobRow, State
from rareseg.study.study_database import StudyDatabase

WORKER = """
import sys
import rareseg.study.job_queue as job_queue
job_queue.HEARTBEAT, job_queue.DEAD_AFTER = 1, 4
from rareseg.study import compare
compare.POLL = 0.5
from rareseg.cli import main
main()
"""


def programs() -> Path | None:
    """Return the folder with PostgreSQL's programs, or None."""
    found = [*Path("/usr/lib/postgresql").glob("*/bin"), Path("/usr/local/bin"), Path("/usr/bin")]
    return next((folder for folder in found if (folder / "initdb").exists()), None)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    """A server of our own on a free port; it refuses to run as root, so it runs as its own user."""
    folder = programs()
    if folder is None:
        pytest.skip("PostgreSQL's initdb is not installed")
    root = tmp_path_factory.mktemp("postgres")
    as_user: list[str] = []
    if os.getuid() == 0:
        try:
            user = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
        own = tmp_path_factory.getbasetemp()
        shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
        for part in (root, *root.parents):
            # Of several test processes each has a folder of its own within the one of all.
            of_pytest = "pytest" in part.name or part.is_relative_to(shared)
            if part.stat().st_uid == 0 and of_pytest:
                part.chmod(part.stat().st_mode | 0o055)
        os.chown(root, user.pw_uid, user.pw_gid)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = root / "data"
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([*as_user, folder / "initdb", "-D", data, "-U", "me", "-A", "trust"], **quiet)
    control = [*as_user, folder / "pg_ctl", "-D", data, "-w", "-l", root / "log"]
    options = f"-p {port} -k {root} -c listen_addresses=127.0.0.1 -c fsync=off"
    subprocess.run([*control, "-o", options, "start"], **quiet)
    yield f"postgresql+psycopg://me@127.0.0.1:{port}/postgres"
    subprocess.run([*control, "-m", "immediate", "stop"], **quiet)


@pytest.fixture
def start(specks, settings, postgres, tmp_path):
    """Start a worker with a folder of its own; all are ended with the test."""
    workers: list[subprocess.Popen] = []

    def begin(name: str, *arguments: object) -> subprocess.Popen:
        words = [
            "compare", specks, "--out", tmp_path / name, "--storage", postgres, "--name", "table",
            "--strategies", "random,balanced,hard", "--seeds", "2", "--steps", "150",
            *settings(), *arguments,
        ]  # fmt: skip
        worker = subprocess.Popen(
            [sys.executable, "-c", WORKER, *map(str, words)],
            stdout=(tmp_path / f"{name}.log").open("w"),
            stderr=subprocess.STDOUT,
        )
        workers.append(worker)
        return worker

    yield begin
    for worker in workers:
        worker.kill()
        worker.wait()


def wait_for(condition, seconds=600):
    for _ in range(seconds * 10):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come to pass")


@pytest.mark.slow
def test_processes_that_begin_at_once_claim_every_job_once(race, postgres):
    assert race(postgres) == Counter(str(number) for number in range(60))


@pytest.mark.slow
def test_three_workers_and_one_killed_in_mid_cell(start, postgres, tmp_path):
    workers = {name: start(name) for name in ("one", "two", "three")}

    def begun(name):
        """Whether a worker is within a training."""
        return any((tmp_path / name / "cells").glob("*/training/steps.csv"))

    wait_for(lambda: begun("two"))
    workers["two"].send_signal(signal.SIGKILL)
    workers["two"].wait()
    queue = JobQueue(StudyDatabase(postgres, "table"))
    assert State.RUNNING in queue.states().values()
    for name in ("one", "three"):
        assert workers[name].wait(600) == 0, (tmp_path / f"{name}.log").read_text()
    assert list(queue.states().values()) == [State.DONE] * 6
    with queue._engine.connect() as connection:
        attempts = connection.scalars(
            sa.select(JobRow.attempts).where(JobRow.study == "table")
        ).all()
    assert sum(attempts) >= 7  # the cell of the killed one twice
    tables = []
    for name in ("one", "three"):
        with (tmp_path / name / "table.csv").open(encoding="utf-8") as file:
            tables.append(list(csv.DictReader(file)))
    assert tables[0] == tables[1]
    # A machine that comes late finds everything done, and shows pictures of what others trained.
    late = start("late")
    assert late.wait(600) == 0
    page = (tmp_path / "late" / "compare.html").read_text(encoding="utf-8")
    assert 'class="card picture side-by-side' in page
    assert not (tmp_path / "late" / "cells").exists()


@pytest.mark.slow
def test_a_machine_with_other_data_is_refused(start, postgres, specks, tmp_path):
    assert start("first", "--name", "data").wait(600) == 0
    shutil.copytree(specks, tmp_path / "other")
    next((tmp_path / "other").rglob("plate*.png")).unlink()
    worker = subprocess.run(
        [
            sys.executable, "-c", WORKER, "compare", str(tmp_path / "other"), "--out",
            str(tmp_path / "second"), "--storage", postgres, "--name", "data",
            "--strategies", "random", "--missing-mask", "negative",
        ],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )  # fmt: skip
    assert worker.returncode == 1
    assert "data" in worker.stderr
    assert "Traceback" not in worker.stderr
