"""Segmentation of rare foreground: sampling, training, decisions and evaluation.

The names below are loaded when they are first used, so that ``import rareseg`` is quick and pulls
in neither torch nor MONAI nor numba.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rareseg.data.builtin.lumps import LumpsSettings as LumpsSettings
    from rareseg.data.builtin.lumps import write_lumps as write_lumps
    from rareseg.data.builtin.specks import SpecksSettings as SpecksSettings
    from rareseg.data.builtin.specks import write_specks as write_specks
    from rareseg.data.checks.fingerprint import inspect_dataset as inspect_dataset
    from rareseg.data.dataset import open_dataset as open_dataset
    from rareseg.data.store.build import build_store as build_store
    from rareseg.data.store.store import Store as Store
    from rareseg.data.store.store import open_store as open_store
    from rareseg.decision.operating_point.choose import (
        choose_operating_point as choose_operating_point,
    )
    from rareseg.evaluation.tables.score_table import ScoreTable as ScoreTable
    from rareseg.evaluation.tables.score_table import score_cases as score_cases
    from rareseg.prediction.deprecated import Predictor as Predictor
    from rareseg.prediction.deprecated import load_bundle as load_bundle
    from rareseg.prediction.detector import Detector as Detector
    from rareseg.prediction.detector import load as load
    from rareseg.recipe import Recipe as Recipe
    from rareseg.run.evaluate import evaluate as evaluate
    from rareseg.run.predict import predict as predict
    from rareseg.run.train import train as train
    from rareseg.run.tune import tune as tune
    from rareseg.sampling.dataloader import PatchLoader as PatchLoader
    from rareseg.sampling.sampler import PatchSampler as PatchSampler
    from rareseg.training.plan import plan_recipe as plan_recipe
    from rareseg_runner.decision.cut_point import apply_point as apply_point

__version__ = "0.1.0"

_HOMES = {
    "Detector": "rareseg.prediction.detector",
    "LumpsSettings": "rareseg.data.builtin.lumps",
    "PatchLoader": "rareseg.sampling.dataloader",
    "PatchSampler": "rareseg.sampling.sampler",
    "Predictor": "rareseg.prediction.deprecated",
    "Recipe": "rareseg.recipe",
    "ScoreTable": "rareseg.evaluation.tables.score_table",
    "SpecksSettings": "rareseg.data.builtin.specks",
    "Store": "rareseg.data.store.store",
    "apply_point": "rareseg_runner.decision.cut_point",
    "build_store": "rareseg.data.store.build",
    "choose_operating_point": "rareseg.decision.operating_point.choose",
    "evaluate": "rareseg.run.evaluate",
    "inspect_dataset": "rareseg.data.checks.fingerprint",
    "load": "rareseg.prediction.detector",
    "load_bundle": "rareseg.prediction.deprecated",
    "open_dataset": "rareseg.data.dataset",
    "open_store": "rareseg.data.store.store",
    "plan_recipe": "rareseg.training.plan",
    "predict": "rareseg.run.predict",
    "score_cases": "rareseg.evaluation.tables.score_table",
    "train": "rareseg.run.train",
    "tune": "rareseg.run.tune",
    "write_lumps": "rareseg.data.builtin.lumps",
    "write_specks": "rareseg.data.builtin.specks",
}

__all__ = sorted([*_HOMES, "__version__"])


def __getattr__(name: str) -> Any:
    """Import a public name from the module that it lives in."""
    if name not in _HOMES:
        raise AttributeError(f"module 'rareseg' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
