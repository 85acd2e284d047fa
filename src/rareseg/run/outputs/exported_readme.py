"""Write the README of an exported model."""

from __future__ import annotations

from collections.abc import Iterable

from rareseg.prediction.model import Model

_ARITHMETIC = {"bf16": "bfloat16 where the processor has it, else float32", "32": "float32"}


def exported_readme(model: Model, decided: Iterable[str], *, has_records: bool) -> str:
    """Return the page: what it is, five lines that use it, what is decided, how faithful it is.

    ``decided`` are sentences about points and certificates.
    """
    files = model.engine
    assert files is not None, "an exported model"
    assert files.fidelity is not None, "measured by then"
    fidelity, regions = files.fidelity, list(model.classes.regions)
    lines = [
        "# A segmentation model with its decisions",
        "",
        f"Written by `rareseg export` for the engine {files.name} {files.version}, computed in "
        f"{_ARITHMETIC[files.precision]}. `rareseg predict`, `rareseg evaluate` and "
        "`rareseg serve` take this folder as they take a run; without torch:",
        "",
        "```python",
        f"# pip install 'rareseg-runner[{files.engine.extra}]'",
        "from rareseg_runner import load",
        "",
        'model = load("FOLDER")',
        'found = model("image.png")  # or an array, a picture of Pillow\'s, a list',
        f'found.flagged["{regions[0]}"], found.objects, found.masks["{regions[0]}"]',
        "```",
        "",
        "## What is decided",
        *(f"- {sentence}" for sentence in decided),
        "",
        "## How faithful it is",
        f"On {fidelity.n_cases} cases, beside the model that it was written from: scores differ by "
        f"at most {fidelity.largest_difference:.2g}, {100 * fidelity.pixels_differ:.2g} % of the "
        f"pixels are cut otherwise, and {len(fidelity.flags_differ) or 'no'} case"
        f"{'' if len(fidelity.flags_differ) == 1 else 's'} flagged otherwise. A certificate holds "
        "for the arithmetic that it was given in: `rareseg tune FOLDER --certify-on DATA` "
        "certifies this one.",
    ]
    if has_records:
        lines += [
            "",
            "## What records/ holds",
            "Names of the cases that the model was trained on, their digests and thumbnails, by "
            "which `evaluate` and `tune` know what it has seen. Nothing else reads them: remove "
            "the folder before the model is handed on, where these must not be.",
        ]
    return "\n".join(lines) + "\n"
