"""How many requests a second does a service answer, and what becomes of too many?

Starts `rareseg serve` on this machine's loopback, with the model that is named or with a small one
that is drawn here, and sends photographs from several threads:

- steady: senders that wait for each answer, more of them in each round, until 95 % of the answers
  no longer come within 250 ms; the highest rate of requests below that is printed;
- overload: many more senders than the queue holds; refused requests (429) are sent again. Lost and
  wrong answers are counted, against the detector called in this process.

    python benchmarks/service_load.py [MODEL] --side 256 --seconds 5 --threads 1

Needs the extra `serve` and httpx.
"""

from __future__ import annotations

import argparse
import io
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import PIL.Image

import rareseg as rs
from rareseg.run.setup.prepare import TrainingOptions

LATEST_S = 0.25
"""Within which 95 % of the answers must come."""

SMALL = ("network.encoder=none", "sampling.patch_size=[64,64]", "training.steps=20")


@dataclass(frozen=True)
class Answer:
    """What came of a request: seconds to the answer, whether it was the right one, refusals."""

    seconds: float
    right: bool
    refusals: int


def main() -> None:
    """Print the rates of both trials."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--side", type=int, default=256, help="of the photographs, in pixels")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each round")
    parser.add_argument("--threads", type=int, default=1, help="of the service's network")
    parser.add_argument("--workers", type=int, default=1, help="processes of the service")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        model = asked.model or small_model(Path(place), asked.side)
        pictures = photographs(Path(place) / "pictures", asked.side)
        detector = rs.load(model)
        expected = [detector(np.asarray(PIL.Image.open(io.BytesIO(p)))).flagged for p in pictures]
        options = ["--threads", str(asked.threads), "--workers", str(asked.workers)]
        with service(model, [*options, "--queue", "64"]) as url:
            best = 0.0
            for senders in (1, 2, 4, 8, 16):
                answers, seconds = ask(url, pictures, expected, senders, asked.seconds)
                late = float(np.quantile([one.seconds for one in answers], 0.95))
                middle = float(np.median([one.seconds for one in answers]))
                rate = len(answers) / seconds
                wrong = sum(not one.right for one in answers)
                print(
                    f"{senders} senders: {rate:.1f} requests a second, p50 {1e3 * middle:.0f} ms, "
                    f"p95 {1e3 * late:.0f} ms, {wrong} wrong"
                )
                if late > LATEST_S:
                    break
                best = max(best, rate)
            print(f"at a p95 under {1e3 * LATEST_S:.0f} ms: {best:.1f} requests a second")
        with service(model, [*options, "--queue", "4"]) as url:
            answers, seconds = ask(url, pictures, expected, 32, asked.seconds)
            print(
                f"overload, 32 senders, queue of 4: {len(answers) / seconds:.1f} answers a second, "
                f"{sum(one.refusals for one in answers)} refusals, "
                f"{sum(not one.right for one in answers)} wrong or lost"
            )


def small_model(folder: Path, side: int) -> Path:
    """Train the planned network for a few steps: what it finds is of no interest here."""
    specks = rs.SpecksSettings(images=24, size=side, seed=0)
    rs.train(
        rs.write_specks(folder / "data", specks),
        folder / "run",
        training_options=TrainingOptions(settings=SMALL),
    )
    return folder / "run"


def photographs(folder: Path, side: int) -> list[bytes]:
    """Return eight photographs as PNG."""
    cases = rs.open_dataset(
        rs.write_specks(folder, rs.SpecksSettings(images=8, size=side, seed=1))
    ).cases
    return [case.images[0].read_bytes() for case in cases]


@contextmanager
def service(model: Path, options: list[str]) -> Iterator[str]:
    """Start a service on a free port and return its address once it is ready."""
    command = [sys.executable, "-m", "rareseg", "serve", str(model), "--port", "0", *options]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8"
    )
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+?:\d+", process.stdout.readline())
        if found is None:
            raise SystemExit("The service did not start; call `rareseg serve` to see why.")
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                httpx.get(f"{found[0]}/ready").raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.2)
        yield found[0]
    finally:
        process.terminate()
        process.wait()


def ask(
    url: str, pictures: list[bytes], expected: list[dict[str, bool]], senders: int, seconds: float
) -> tuple[list[Answer], float]:
    """Send photographs from several threads for some seconds; return answers and the time taken."""
    begun = time.monotonic()

    def send(number: int) -> list[Answer]:
        answers = []
        with httpx.Client(base_url=url, timeout=60, params={"masks": "none"}) as client:
            while time.monotonic() < begun + seconds:
                which = number % len(pictures)
                answers.append(one_answer(client, pictures[which], expected[which]))
                number += senders
        return answers

    with ThreadPoolExecutor(senders) as threads:
        found = [answer for part in threads.map(send, range(senders)) for answer in part]
    return found, time.monotonic() - begun


def one_answer(client: httpx.Client, picture: bytes, expected: dict[str, bool]) -> Answer:
    """Send one photograph until it is taken."""
    begun = time.monotonic()
    for refusals in range(10_000):
        try:
            answer = client.post("/predict", files={"file": ("a.png", picture)})
        except httpx.HTTPError:
            return Answer(time.monotonic() - begun, False, refusals)
        if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
            right = answer.is_success and answer.json()["flagged"] == expected
            return Answer(time.monotonic() - begun, right, refusals)
        time.sleep(0.02)
    return Answer(time.monotonic() - begun, False, refusals)


if __name__ == "__main__":
    main()
