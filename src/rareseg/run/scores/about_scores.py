"""Record of which scores and references the decisions of a folder are about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rareseg.errors import RunError
from rareseg_runner.image_records import Classes
from rareseg_runner.text_files import read_json

NAME = "scores.json"
"""Which scores and references the decisions are about, and how these were opened."""

FORMAT_1_POINTS, FORMAT_1_ABOUT = "operating_points.json", "outside.json"
"""Where earlier releases kept decisions, and what they were about."""


@dataclass(frozen=True)
class AboutScores:
    """What decisions about files are about.

    ``channels`` are the declared regions in the order of a file's channels, empty where none were
    declared; ``with_presence`` says whether the gates were chosen on image scores that hold what an
    ``image_scores.csv`` said. ``references`` is how the data with the masks were opened.
    """

    classes: Classes
    channels: tuple[str, ...]
    with_presence: bool
    probabilities: str
    references: Mapping[str, Any]
    digest: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            **vars(self),
            "classes": self.classes.to_dict(),
            "channels": list(self.channels),
            "references": dict(self.references),
        }

    @classmethod
    def read(cls, folder: Path) -> AboutScores:
        """Read what `tune --probabilities` noted in ``folder``; RunError where it did not."""
        path, earlier = folder / NAME, folder / FORMAT_1_POINTS
        try:
            if path.is_file():
                record = read_json(path)
            elif earlier.is_file():
                about = read_json(folder / FORMAT_1_ABOUT)
                points = read_json(earlier)
                known = ("classes", "channels", "with_presence")
                record = {**about, **{name: points[name] for name in known}}
            else:
                raise RunError(
                    f"{path} is missing; name the folder that `rareseg tune --probabilities DIR "
                    "--references DATA --out OUT` wrote."
                )
            return cls(
                **{
                    **record,
                    "classes": Classes.from_dict(record["classes"]),
                    "channels": tuple(record["channels"]),
                }
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"{path} is damaged ({error}); tune again into another --out."
            ) from error
