"""Commands `export` and `benchmark`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rareseg.cli.app import app
from rareseg.cli.options.shared_options import AsJson, Device, Out, Run
from rareseg.cli.terminal import bar, print_json, print_line

if TYPE_CHECKING:
    from rareseg_runner.exported_model import Fidelity


@app.command(epilog="Example: rareseg export run --out model --engine openvino")
def export(
    run: Run,
    out: Out,
    engine: Annotated[
        str, typer.Option("--engine", help="openvino (the fastest on processors), onnx or torch.")
    ] = "openvino",
    precision: Annotated[
        str, typer.Option("--precision", help="32, bf16, or auto: as the run scores, where it can.")
    ] = "auto",
    allow_differences: Annotated[
        bool,
        typer.Option("--allow-differences", help="Write it though it decides otherwise somewhere."),
    ] = False,
    records: Annotated[
        bool,
        typer.Option(
            "--records/--no-records",
            help="Keep what the run knows of its data, so that it can be evaluated and certified.",
        ),
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Write the model with its decisions for an engine: one folder that needs no torch.

    The masks of the validation cases are compared with those of the run. `predict`, `evaluate`,
    `tune` and `serve` take the folder as they take a run.
    """
    from dataclasses import asdict

    from rareseg.run.export import export as export_run

    done = export_run(
        run,
        out,
        engine=engine,
        precision=precision,
        allow_differences=allow_differences,
        records=records,
        track=bar,
    )
    if as_json:
        fidelity = None if done.fidelity is None else asdict(done.fidelity)
        print_json({"folder": str(done.folder), "fidelity": fidelity})
        return
    if done.fidelity is not None:
        print_line(_fidelity_line(done.fidelity))
    print_line(f"Model: {done.folder.resolve()} (its README.md says how to use it)")


def _fidelity_line(fidelity: Fidelity) -> str:
    return (
        f"On {fidelity.n_cases} cases scores differ by at most {fidelity.largest_difference:.2g}, "
        f"{100 * fidelity.pixels_differ:.2g} % of the pixels are cut otherwise, and "
        f"{fidelity.flags_differ or 'no'} cases are flagged otherwise."
    )


@app.command(epilog="Example: rareseg benchmark model run --images photos/")
def benchmark(
    models: Annotated[
        list[Path],
        typer.Argument(help="Runs or exported models; ratios are to the first", show_default=False),
    ],
    images: Annotated[
        Path, typer.Option("--images", help="An image or a folder.", show_default=False)
    ],
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Calls on every image.")] = 3,
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Time models on images: images a second, the median and 95th percentile of a call, memory.

    The models take turns. Name a run beside an exported model to compare with PyTorch.
    """
    from rareseg.run.benchmark import benchmark as time_models

    timings = time_models(models, images, rounds=rounds, device=device, track=bar)
    if as_json:
        print_json({"models": [timing.record() for timing in timings]})
        return
    for timing in timings:
        print_line(
            f"{timing.model} ({timing.computed_by}): {timing.images_per_second:.2f} images/s, "
            f"median {1000 * timing.p50:.0f} ms, 95th percentile {1000 * timing.p95:.0f} ms, "
            f"{timing.images_per_second / timings[0].images_per_second:.2f} x the first"
        )
    print_line(f"Peak memory of the process: {timings[-1].peak_bytes / 2**20:,.0f} MiB")
