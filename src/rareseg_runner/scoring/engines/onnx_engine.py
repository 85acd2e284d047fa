"""ONNX Runtime: runs networks in the interchange format ONNX, in float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rareseg_runner.scoring.engines.engine import Engine, Precision


class OnnxNetwork:
    """One session."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._input = session.get_inputs()[0].name

    def __call__(
        self, images: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Return logits and log-odds of images, as ``EngineNetwork`` says."""
        logits, *odds = self._session.run(None, {self._input: images})
        return logits, odds[0] if odds else None


def _open(path: Path, precision: Precision, threads: int | None) -> OnnxNetwork:
    runtime = ENGINE.module()
    options = runtime.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = threads
    return OnnxNetwork(
        runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    )


ENGINE = Engine("onnx", "onnxruntime", "onnx", (".onnx",), lambda: False, _open)
