"""Those who help with a study end with the process that asked them."""

import os
import signal
import subprocess
import sys
import time

PROGRAM = """
import sys, time
from pathlib import Path

def work(beat):
    while True:
        Path(beat).write_text(str(time.time()))
        time.sleep(0.05)

if __name__ == "__main__":
    from rareseg.run.setup.run_folder import DataOptions
    from rareseg.study.shared_data import StudyOptions, helpers
    with helpers(StudyOptions(DataOptions("."), parallel=2), work, sys.argv[1]):
        time.sleep(600)
"""


def wait_until(condition, seconds=180):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened in three minutes"
        time.sleep(0.05)


def test_a_helper_dies_with_a_process_that_is_killed(tmp_path):
    program, beat = tmp_path / "program.py", tmp_path / "beat"
    program.write_text(PROGRAM, encoding="utf-8")
    asking = subprocess.Popen([sys.executable, str(program), str(beat)])
    try:
        wait_until(beat.exists)
        os.kill(asking.pid, signal.SIGKILL)
        asking.wait()

        def silent():
            last = beat.read_text()
            time.sleep(0.5)
            return beat.read_text() == last

        wait_until(silent)
    finally:
        asking.kill()
