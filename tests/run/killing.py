"""Call the command line and kill it with SIGKILL at chosen moments, one process for each.

Called as ``python killing.py JSON`` with a list of ``{"moment", "number", "arguments"}``, it prints
the signal that ended each. The moments are

* ``step``: after the number-th step of the optimiser, before anything of it is saved;
* ``write``: when half of the number-th file of tensors is written, one checkpoint for each step;
* a file's name: when the number-th file of that name is written, but does not have its name yet.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from pathlib import Path

import torch

import rareseg.run.train
from rareseg.cli import main
from rareseg.training import loop

assert rareseg.run.train, "imported before the processes divide, to be imported once"


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arrange(moment: str, number: int) -> None:
    """Make this process kill itself at the moment."""
    left = number

    def is_due() -> bool:
        nonlocal left
        left -= 1
        return left == 0

    if moment == "step":
        whole_step = torch.optim.AdamW.step

        def step(self, *arguments, **options):
            whole_step(self, *arguments, **options)
            if is_due():
                die()

        torch.optim.AdamW.step = step
    elif moment == "write":
        loop.SAVE_SECONDS = 0.0
        whole_save = torch.save

        def save(state, target):
            if is_due():
                whole = io.BytesIO()
                whole_save(state, whole)
                target.write(whole.getvalue()[: len(whole.getvalue()) // 2])
                target.flush()
                die()
            whole_save(state, target)

        torch.save = save
    else:
        whole_replace = os.replace

        def replace(source, target):
            if Path(target).name == moment and is_due():
                die()
            whole_replace(source, target)

        os.replace = replace


for scenario in json.loads(sys.argv[1]):
    child = os.fork()
    if child == 0:
        arrange(scenario["moment"], scenario["number"])
        sys.argv = ["rareseg", *scenario["arguments"]]
        main()
    _, status = os.waitpid(child, 0)
    print(os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, flush=True)  # noqa: T201
