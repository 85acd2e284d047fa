"""Several processes at one queue, as the tests of SQLite and of PostgreSQL need them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

import pytest

CLAIM_ALL = """
import json, sys
from rareseg.study.study_database import StudyDatabase
from rareseg.study.job_queue import JobQueue

url, count = sys.argv[1], int(sys.argv[2])
sys.stdin.readline()  # all begin at once
queue = JobQueue(StudyDatabase(url, "race"))
queue.enqueue({str(number): {"number": number} for number in range(count)}, retry_failed=False)
claimed = []
while (job := queue.claim()) is not None:
    claimed.append(job.key)
    with queue.alive(job):
        assert queue.complete(job, {"square": job.task["number"] ** 2})
print(json.dumps(claimed))
"""


@pytest.fixture(scope="session")
def race():
    """Let processes begin, fill and empty one queue at once; return how often a job was claimed."""

    def run(url: str, *, processes: int = 3, count: int = 60) -> Counter[str]:
        command = [sys.executable, "-c", CLAIM_ALL, url, str(count)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        running = [subprocess.Popen(command, encoding="utf-8", **pipes) for _ in range(processes)]
        for one in running:
            one.stdin.write("go\n")
            one.stdin.flush()
        claimed: Counter[str] = Counter()
        for one in running:
            out, err = one.communicate(timeout=240)
            assert one.returncode == 0, err
            claimed.update(json.loads(out))
        return claimed

    return run
