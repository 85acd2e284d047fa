"""Write the README of an exported model."""

from __future__ import annotations

from collections.abc import Iterable

from rareseg.prediction.model import Model
from rareseg_runner.exported_model import EngineFiles, Fidelity

_ARITHMETIC = {"bf16": "bfloat16 where the processor has it, else float32", "32": "float32"}


def exported_readme(model: Model, decided: Iterable[str], *, has_records: bool) -> str:
    """Return the page: what it is, five lines that use it, what is decided, how faithful it is.

    ``decided`` are sentences about points and certificates.
    """
    region = next(iter(model.classes.regions))
    lines = ["# A segmentation model with its decisions", ""]
    lines += _of_torch(region) if model.engine is None else _of_engine(model.engine, region)
    lines += ["", "## What is decided", *(f"- {sentence}" for sentence in decided)]
    if model.engine is not None and model.engine.fidelity is not None:
        lines += ["", "## How faithful it is", _faithful(model.engine.fidelity)]
    if has_records:
        lines += [
            "",
            "## What records/ holds",
            "Names of the cases that the model was trained on, their digests and thumbnails, by "
            "which `evaluate` and `tune` know what it has seen. Nothing else reads them: remove "
            "the folder before the model is handed on, where these must not be.",
        ]
    return "\n".join(lines) + "\n"


def _of_torch(region: str) -> list[str]:
    return [
        "Written by `rareseg export`, computed by torch. `rareseg predict`, `rareseg evaluate` and "
        "`rareseg serve` take this folder as they take a run; in Python:",
        *_code("pip install rareseg", "import rareseg as rs", "rs.load", region),
    ]


def _of_engine(files: EngineFiles, region: str) -> list[str]:
    return [
        f"Written by `rareseg export` for the engine {files.name} {files.version}, computed in "
        f"{_ARITHMETIC[files.precision]}. `rareseg predict`, `rareseg evaluate` and "
        "`rareseg serve` take this folder as they take a run; without torch:",
        *_code(
            f"pip install 'rareseg-runner[{files.engine.extra}]'",
            "from rareseg_runner import load",
            "load",
            region,
        ),
    ]


def _code(install: str, imports: str, load: str, region: str) -> list[str]:
    return [
        "",
        "```python",
        f"# {install}",
        imports,
        "",
        f'model = {load}("FOLDER")',
        'found = model("image.png")  # or an array, a picture of Pillow\'s, a list',
        f'found.flagged["{region}"], found.objects, found.masks["{region}"]',
        "```",
    ]


def _faithful(fidelity: Fidelity) -> str:
    n = fidelity.flags_differ
    return (
        f"On {fidelity.n_cases} cases, beside the model that it was written from: scores differ by "
        f"at most {fidelity.largest_difference:.2g}, {100 * fidelity.pixels_differ:.2g} % of the "
        f"pixels are cut otherwise, and {n or 'no'} case{'' if n == 1 else 's'} flagged otherwise. "
        "A certificate holds for the arithmetic that it was given in: "
        "`rareseg tune FOLDER --certify-on DATA` certifies this one."
    )
