"""Call rareseg in processes that kill themselves with SIGKILL, forked from one that is warm.

``python -m kills.killer`` reads one request a line from standard input, as JSON, and answers with
one line. A request has ``calls``, which run at once; each has ``arguments`` of the command line (or
``function``, the name of one in :mod:`kills.functions`), and ``kill_before``: the process is killed
before its n-th act on a file (opened to write, renamed, removed, made), counted over those below
``place``. ``kill_after`` kills after so many seconds. The answer lists for each call the signal or
code, the number of acts, and what was said.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

ACTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def watch(place: str, kill_before: int | None) -> list[int]:
    """Count the acts on files below ``place``, and end the process before one of them."""
    count, lock = [0], threading.Lock()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in ACTS and event != "sqlite3.connect":
            return
        if event == "open" and not _opens_to_write(arguments):
            return
        first = arguments[0]
        name = os.fsdecode(first) if isinstance(first, (str, bytes, os.PathLike)) else ""
        if not name.startswith(place):
            return
        with lock:
            count[0] += 1
            if count[0] == kill_before:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return count


def _opens_to_write(arguments: tuple[Any, ...]) -> bool:
    _, mode, flags = (*arguments, None, None)[:3]
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return isinstance(flags, int) and bool(flags & _WRITES)


def act(call: dict[str, Any], place: str, answer: Path, said: Path) -> None:
    """Do a call in this process, a child, and end it."""
    code = 1
    with said.open("w", encoding="utf-8") as target:
        os.dup2(target.fileno(), 1)
        os.dup2(target.fileno(), 2)
        sys.stdout = sys.stderr = target
        os.chdir(place)
        count = watch(place, call.get("kill_before"))
        try:
            if "function" in call:
                from kills import functions

                getattr(functions, call["function"])(*call["arguments"])
                code = 0
            else:
                from rareseg.cli import main

                sys.argv = ["rareseg", *call["arguments"]]
                main()
                code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        except BaseException:
            traceback.print_exc()
            code = 99
        target.flush()
        answer.write_text(json.dumps({"acts": count[0]}), encoding="utf-8")
    os._exit(code)


def answer_request(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Start all calls of a request, wait for them, and return what became of each."""
    scratch = Path(request["scratch"])
    scratch.mkdir(parents=True, exist_ok=True)
    children = []
    for number, call in enumerate(request["calls"]):
        answer, said = scratch / f"answer{number}.json", scratch / f"said{number}.txt"
        answer.unlink(missing_ok=True)
        child = os.fork()
        if child == 0:
            act(call, request["place"], answer, said)
        timer = None
        if call.get("kill_after") is not None:
            timer = threading.Timer(call["kill_after"], _kill, (child,))
            timer.start()
        children.append((child, timer, answer, said))
    found = []
    for child, timer, answer, said in children:
        _, status = os.waitpid(child, 0)
        if timer is not None:
            timer.cancel()
        killed = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        acts = json.loads(answer.read_text(encoding="utf-8"))["acts"] if answer.exists() else None
        found.append(
            {
                "signal": killed,
                "code": None if killed else os.WEXITSTATUS(status),
                "acts": acts,
                "said": said.read_text(encoding="utf-8", errors="replace") if said.exists() else "",
            }
        )
    return found


def _kill(child: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)


def serve() -> None:
    """Answer requests until standard input ends."""
    import rareseg.run.evaluate
    import rareseg.run.predict
    import rareseg.run.train
    import rareseg.study.compare
    import rareseg.study.recipe_search  # noqa: F401 - imported before the process divides

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        answers.write(json.dumps(answer_request(json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve()
