"""Options of commands as records: each field of a dataclass becomes an option."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

Command = TypeVar("Command", bound=Callable[..., None])
Memory = Annotated[
    str | None,
    typer.Option(
        "--memory",
        metavar="SIZE",
        help="Refuse images that need more, such as 4GB, and read no more at a time than fit; what "
        "the machine has left where not given.",
    ),
]


def grouped(command: Command) -> Command:
    """Return a command for typer, in which every parameter that is a dataclass is its fields.

    A field is annotated as an option of typer is and has a default; the command gets the record.
    """
    hints = get_type_hints(command, include_extras=True)
    flat: list[inspect.Parameter] = []
    groups: dict[str, Any] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        if not is_dataclass(hints[name]):
            flat.append(_keyword(name, parameter.default, hints[name]))
            continue
        groups[name] = hints[name]
        options = get_type_hints(hints[name], include_extras=True)
        for field in fields(hints[name]):
            assert field.default is not MISSING, f"{name}.{field.name} has a default"
            flat.append(_keyword(field.name, field.default, options[field.name]))

    @functools.wraps(command)
    def called(**values: Any) -> None:
        records = {
            name: kind(**{field.name: values.pop(field.name) for field in fields(kind)})
            for name, kind in groups.items()
        }
        command(**values, **records)

    called.__annotations__ = {parameter.name: parameter.annotation for parameter in flat}
    called.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    return called  # type: ignore[return-value]


def within_memory(command: Command) -> Command:
    """Return a command with the option --memory, under whose limit it reads images."""
    parameters = inspect.signature(command).parameters
    hints = get_type_hints(command, include_extras=True)
    own = [_keyword(name, known.default, hints[name]) for name, known in parameters.items()]
    flat = [*own, _keyword("memory", None, Memory)]

    @functools.wraps(command)
    def called(*, memory: str | None = None, **values: Any) -> None:
        from rareseg_runner.memory_limit import limited_to, parse_size

        with limited_to(None if memory is None else parse_size(memory)):
            command(**values)

    called.__annotations__ = {parameter.name: parameter.annotation for parameter in flat}
    called.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    return called  # type: ignore[return-value]


def _keyword(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )
