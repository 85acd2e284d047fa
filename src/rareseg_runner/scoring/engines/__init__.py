"""Engines: what computes an exported network.

Each is an :class:`~rareseg_runner.scoring.engines.engine.Engine`, registered in its module;
importing this package registers those that come with the runner. The package of an engine is
imported when a network is opened.
"""

from rareseg_runner.scoring.engines import onnx_engine, openvino_engine
from rareseg_runner.scoring.engines.engine import Engine, engine_named, engines, register_engine

for _module in (openvino_engine, onnx_engine):
    register_engine(_module.ENGINE)

__all__ = ["Engine", "engine_named", "engines", "register_engine"]
