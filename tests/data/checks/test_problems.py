"""Problems are records: asked for by their kind, told by their text."""

from rareseg.data.checks.problems import Findings, Problem, other_than
from rareseg.errors import ProblemsError


def test_they_are_left_out_by_kind_whatever_they_say():
    findings = Findings()
    findings.problem("No case holds anything; add some.", kind="no positive case")
    findings.problem("a.png has no positive case of being read.", where="a")
    assert other_than(findings.problems, {"no positive case"}) == [
        Problem("data", "a.png has no positive case of being read.", "a")
    ]
    assert findings.warnings == []


def test_an_error_tells_their_texts():
    error = ProblemsError([Problem("absent class", "b is in no mask", "b")])
    assert error.problems == ("b is in no mask",)
    assert "1 problem in the data: b is in no mask" in str(error)


def test_what_an_earlier_version_wrote_is_read():
    assert Problem.read("a sentence.") == Problem("data", "a sentence.")
    known = Problem("no groups", "No group is known.")
    assert Problem.read(vars(known)) == known
