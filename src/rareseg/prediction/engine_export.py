"""Write the networks of a model as files that an engine opens."""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import torch

from rareseg.errors import UsageError, WorkError
from rareseg.prediction.model import Model
from rareseg.prediction.networks import stride
from rareseg.prediction.scorer import computes_in_bf16, member_networks
from rareseg_runner.atomic_files import file_digest
from rareseg_runner.exported_model import EngineFiles
from rareseg_runner.scoring.engines import Engine, engine_named
from rareseg_runner.scoring.engines.engine import Precision

_EXAMPLE = 4
"""Sides of the example image, in strides."""


def export_networks(model: Model, folder: Path, engine: str, precision: str) -> EngineFiles:
    """Write every member of a model into ``folder`` and return which files they are.

    ``precision`` is "32", "bf16", or "auto": what the model's own scores are computed in, where the
    engine and this processor can. Raises :class:`UsageError` for an engine that is not known or
    cannot compute in that precision, :class:`WorkError` where it is not installed.
    """
    target = engine_named(engine)
    target.module()
    chosen = _precision(target, model, precision)
    networks, digests = [], {}
    for number, network in enumerate(member_networks(model)):
        first = folder / f"network_{number}{target.suffixes[0]}"
        sides = (_EXAMPLE * stride(model.recipe.network),) * model.recipe.data.dimension
        write_network(engine, network.eval(), torch.zeros(2, model.channels, *sides), first)
        networks.append(first.name)
        for suffix in target.suffixes:
            path = first.with_suffix(suffix)
            digests[path.name] = file_digest(path)
    return EngineFiles(
        name=engine,
        version=target.version,
        precision=chosen,
        networks=tuple(networks),
        digests=digests,
        tells_presence=model.tells_presence,
    )


def write_network(engine: str, network: torch.nn.Module, example: torch.Tensor, path: Path) -> None:
    """Write one network as the files of an engine, the first of them at ``path``.

    ``example`` (image, channel, *space) are images that it takes; their number and size are no part
    of what is written. Raises :class:`WorkError` where the engine cannot write it, as where the
    disk is full.
    """
    try:
        with _quiet():
            _WRITERS[engine](network, example, path)
    except (RuntimeError, OSError, ValueError, TypeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise WorkError(f"{path.name} cannot be written for {engine}: {reason}") from error


def _precision(engine: Engine, model: Model, asked: str) -> Precision:
    if asked == "auto":
        return engine.computes_in("bf16" if model.precision == "bf16" else "32")
    if asked not in ("32", "bf16"):
        raise UsageError(f"The precision '{asked}' is unknown; allowed are auto, 32 and bf16.")
    if asked == "bf16" and engine.computes_in("bf16") != "bf16":
        here = computes_in_bf16(torch.device("cpu"))
        reason = "in float32 alone" if here else "in float32 here: the processor has no bfloat16"
        raise UsageError(f"{engine.name} computes {reason}; choose --precision 32 or auto.")
    return "bf16" if asked == "bf16" else "32"


def _write_openvino(network: torch.nn.Module, example: torch.Tensor, path: Path) -> None:
    openvino = engine_named("openvino").module()
    # convert_model would do the same and report the call to its maker.
    decoder = importlib.import_module("openvino.frontend.pytorch.ts_decoder")
    front = openvino.frontend.FrontEndManager().load_by_framework("pytorch")
    traced = decoder.TorchScriptPythonDecoder(network, example_input=example)
    openvino.save_model(front.convert(front.load(traced)), path, compress_to_fp16=False)


def _write_onnx(network: torch.nn.Module, example: torch.Tensor, path: Path) -> None:
    _required("onnxscript", "onnx")
    dynamic = torch.export.Dim.DYNAMIC
    axes = {0: dynamic, **dict.fromkeys(range(2, example.ndim), dynamic)}
    program = torch.onnx.export(
        network, (example,), dynamo=True, dynamic_shapes=(axes,), verbose=False
    )
    assert program is not None, "dynamo=True gives a program"
    program.save(path)


_WRITERS = {"openvino": _write_openvino, "onnx": _write_onnx}


def _required(package: str, extra: str) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise WorkError(
            f"Writing ONNX needs {package}, which is not installed: pip install 'rareseg[{extra}]'."
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what exporters say of torchvision, and of what torch will deprecate, from the user."""
    log = logging.getLogger("torch.onnx")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)
