"""Suspects travel in a file, and come back as they were."""

import json

import pytest

from rareseg.errors import RunError
from rareseg.quality.suspects.suspect import Suspect, load_suspects, save_suspects

BOXES = ((0, 1), (2, 9), (3, 8)), ((4, 7), (0, 9), (0, 8))
FOUND = (
    Suspect("a1", "case 1", "p1", "core", "missed object", 0.93, BOXES[0], 30, 0, "x"),
    Suspect("b2", "case 2", None, "core", "wrong class", 0.5, BOXES[1], 9, 5, "y", aside=True),
)


def test_they_come_back_as_they_were(tmp_path):
    save_suspects(tmp_path / "suspects.json", FOUND)
    assert load_suspects(tmp_path / "suspects.json") == FOUND


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"suspects": [{}]}', '{"suspects": [{"kind": "odd"}]}'],
)
def test_any_other_file_is_refused_by_name(tmp_path, text):
    path = tmp_path / "suspects.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RunError, match=r"suspects\.json holds no list of suspects"):
        load_suspects(path)


def test_a_kind_that_is_none_is_refused(tmp_path):
    path = tmp_path / "suspects.json"
    save_suspects(path, FOUND)
    content = json.loads(path.read_text(encoding="utf-8"))
    content["suspects"][0]["kind"] = "guessed"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(RunError, match="guessed"):
        load_suspects(path)
