"""How every registered command is called with one faulty input, read from the command line itself.

A command's parameters that are paths are looked up in :data:`TAKES`; a new one must be named there,
and its command then runs over the corpus.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.models import OptionInfo

from rareseg.cli import app

TAKES = {
    "data": "data",
    "certify_on": "data",
    "references": "data",
    "reference": "images",
    "picks": "folder",
    "watch": "folder",
    "unlabelled": "images",
    "images": "images",
    "run": "run",
    "model": "run",
    "models": "run",
    "recipe": "recipe",
    "split": "split",
    "probabilities": "scores",
    "masks": "scores",
    "points": "folder",
    "against": "folder",
}
"""What a parameter of this name takes."""
WRITES = {"out": "", "manifest": ".csv"}
"""Parameters that name what is written, and the ending of that name."""
ENDINGS = {"preview": ".png", "plan": ".yaml"}
"""Commands whose --out is a file."""
WITH: dict[str, list[str]] = {
    "certify_on": ["--max-false-alarm-rate", "0.5"],
    "references": ["--probabilities", "{scores}"],
    "probabilities": ["--references", "{data}"],
    "masks": ["--references", "{data}"],
    "split": ["--probabilities", "{scores}", "--references", "{data}"],
    "points": ["--probabilities", "{scores}", "--references", "{data}"],
    "unlabelled": ["--prevalence", "0.1"],
}
"""What stands beside an optional parameter."""
WITHOUT_RUN = ("references", "probabilities", "masks", "split", "points")
"""Parameters that stand in place of a run."""
SMALL = [
    *("--set=network.width=[4,8,8]", "--set=sampling.patch_size=[8,8]"),
    *("--set=training.threads=1", "--set=training.precision=32"),
]
STEPS = "--set=training.steps=2"
HIDES = ("--steps=2", STEPS, *SMALL)
ALSO = {
    "review": ["--no-browser"],
    "serve": ["--port", "0"],
    "compare": ["--strategies", "random,balanced", "--steps=2", *SMALL],
    "search": ["--trials", "1", "--steps=2", *SMALL],
    "train": [STEPS, *SMALL],
    "preview": SMALL,
}
NEEDS = {"benchmark": "images"}
"""A parameter that a command cannot do without, though it is an option."""


@dataclass(frozen=True)
class Taking:
    """A command and one of its parameters that takes an input."""

    command: str
    parameter: str
    option: str
    """As it is written before its value; "" for an argument."""

    @property
    def takes(self) -> str:
        return TAKES[self.parameter]


def commands() -> dict[str, Any]:
    """Return the functions of all registered commands by name."""
    return {c.name or c.callback.__name__: c.callback for c in app.registered_commands}


def path_parameters(command: str) -> dict[str, str]:
    """Return the parameters of a command that are paths, with the option of each."""
    hints = typing.get_type_hints(commands()[command], include_extras=True)
    found = {}
    for name, hint in hints.items():
        kind, *about = typing.get_args(hint) if hasattr(hint, "__metadata__") else (hint,)
        if kind is Path or Path in typing.get_args(kind):
            found[name] = next((_option(one) for one in about if isinstance(one, OptionInfo)), "")
    return found


def _option(about: OptionInfo) -> str:
    """Return an option as it is written; typer keeps the first word as a default."""
    words = [about.default, *(about.param_decls or ())]
    return next(str(word) for word in words if str(word).startswith("--"))


def takings() -> list[Taking]:
    """Return every parameter of every command that takes an input."""
    return [
        Taking(command, name, option)
        for command in commands()
        for name, option in path_parameters(command).items()
        if name not in WRITES
    ]


def arguments(taking: Taking, given: Path, good: dict[str, Path], out: Path) -> list[str]:
    """Return a call in which ``given`` stands in the parameter, and whole inputs everywhere else.

    ``good`` holds a whole input of each kind that :data:`TAKES` names.
    """
    found, words = path_parameters(taking.command), [taking.command]
    alone = taking.parameter in WITHOUT_RUN
    for name, option in found.items():
        if name in WRITES or (option and NEEDS.get(taking.command) != name):
            continue
        if option:
            if name != taking.parameter:
                words += [option, str(good[TAKES[name]])]
            continue
        value = given if name == taking.parameter else good[TAKES[name]]
        if name == taking.parameter or not (alone and name in ("run", "data")):
            words.append(str(value))
    if taking.option:
        words += [taking.option, str(given)]
        words += [word.format(**good) for word in WITH.get(taking.parameter, [])]
    needs_out = taking.command not in ("tune", "calibrate") or alone
    if "out" in found and needs_out:
        words += ["--out", f"{out}{ENDINGS.get(taking.command, '')}"]
    if taking.parameter == "recipe":  # what stands on the command line would hide the recipe
        return words + [word for word in ALSO.get(taking.command, []) if word not in HIDES]
    return words + ALSO.get(taking.command, [])
