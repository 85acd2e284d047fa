"""Options of commands that train many times: what all trainings share, and who shares the work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rareseg.cli.options.reading_options import ReadingOptions
from rareseg.cli.options.shared_options import (
    Accelerator,
    Parallel,
    RecipeFile,
    Settings,
    Steps,
    Storage,
    StudyName,
)

if TYPE_CHECKING:
    from rareseg.study.shared_data import StudyOptions


@dataclass(frozen=True)
class StudyArguments(ReadingOptions):
    """What `compare` and `search` take alike."""

    steps: Steps = None
    recipe: RecipeFile = None
    settings: Settings = None
    parallel: Parallel = 1
    storage: Storage = None
    name: StudyName = ""
    accelerator: Accelerator = "auto"

    def study(self, data: Path) -> StudyOptions:
        """Return the options of a study of ``data``."""
        from rareseg.run.setup.prepare import Machine, TrainingOptions
        from rareseg.study.shared_data import StudyOptions

        steps = [] if self.steps is None else [f"training.steps={self.steps}"]
        return StudyOptions(
            data=self.data(data),
            training_options=TrainingOptions(self.recipe, [*(self.settings or []), *steps]),
            storage=self.storage,
            name=self.name,
            parallel=self.parallel,
            machine=Machine(self.accelerator),
        )
