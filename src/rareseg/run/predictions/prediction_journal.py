"""Journal of what was predicted, a line of JSON an image, so that a call can be taken up again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from rareseg.run.predictions.predicted_case import PredictedCase
from rareseg_runner.atomic_files import atomic_write, naming

NAME = "predicted.jsonl"


class Journal:
    """``out/predicted.jsonl``: a line is added once all masks of an image stand.

    Of two lines of one image the later one holds. A line that was cut by a killed process is as
    none, and the image is predicted again.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._path = out / NAME
        self._cases = dict(self._read())

    def close(self) -> Mapping[str, PredictedCase]:
        """Return what was predicted by this call and by others and still stands, by id.

        The file is written anew, atomically, a line an image in the order of the ids, so that it
        does not depend on how often a call was taken up.
        """
        known = {**self._read(), **self._cases}
        self._cases = {
            name: known[name] for name in sorted(known) if (self._out / known[name].mask).is_file()
        }
        with atomic_write(self._path) as temporary:
            temporary.write_text("".join(map(_line, self._cases.values())), encoding="utf-8")
        return self._cases

    def case(self, case_id: str) -> PredictedCase:
        """Return what was found in one image, which :meth:`finished` says is there."""
        return self._cases[case_id]

    def finished(self, case_id: str, digest: str) -> bool:
        """Whether an image of this id and these bytes was predicted and its label map stands."""
        case = self._cases.get(case_id)
        return case is not None and case.digest == digest and (self._out / case.mask).is_file()

    def add(self, case: PredictedCase) -> None:
        """Add the line of an image. Raises WorkError where that fails."""
        self._cases.pop(case.id, None)
        self._cases[case.id] = case
        with naming(self._path), self._path.open("ab") as file:
            if file.tell() and not self._ends_whole():
                file.write(b"\n")
            file.write(_line(case).encode("utf-8"))

    def _ends_whole(self) -> bool:
        with self._path.open("rb") as file:
            file.seek(-1, 2)
            return file.read(1) == b"\n"

    def _read(self) -> dict[str, PredictedCase]:
        if not self._path.is_file():
            return {}
        found: dict[str, PredictedCase] = {}
        for line in self._path.read_bytes().split(b"\n"):
            try:
                case = PredictedCase.from_dict(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError):
                continue  # cut by a killed process
            found.pop(case.id, None)
            found[case.id] = case
        return found


def _line(case: PredictedCase) -> str:
    return json.dumps(case.to_dict(), ensure_ascii=False) + "\n"
