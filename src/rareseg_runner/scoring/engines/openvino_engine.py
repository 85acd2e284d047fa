"""OpenVINO: the fastest engine on processors, in bfloat16 where the processor multiplies it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rareseg_runner.scoring.engines.engine import Engine, Precision


class OpenVinoNetwork:
    """One compiled network."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self._request = compiled.create_infer_request()
        self._tells_presence = len(compiled.outputs) > 1

    def __call__(
        self, images: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Return logits and log-odds of images, as ``EngineNetwork`` says."""
        self._request.infer([images])
        logits = np.array(self._request.get_output_tensor(0).data, np.float32)
        if not self._tells_presence:
            return logits, None
        return logits, np.array(self._request.get_output_tensor(1).data, np.float32)


def _core() -> Any:
    return ENGINE.module().Core()


def _has_bf16() -> bool:
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _open(path: Path, precision: Precision, threads: int | None) -> OpenVinoNetwork:
    core = _core()
    options: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    if threads is not None:
        options["INFERENCE_NUM_THREADS"] = threads
    return OpenVinoNetwork(core.compile_model(core.read_model(path), "CPU", options))


ENGINE = Engine("openvino", "openvino", "openvino", (".xml", ".bin"), _has_bf16, _open)
