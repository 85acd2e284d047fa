"""Problems are records: asked for by their kind, told by their text."""

from rareseg.data.checks.problems import Findings, Problem, other_than, summarise
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


class TestSummary:
    def test_one_fault_of_many_files_is_one_line(self):
        texts = [f"/a b/images/c {k:02d}.png has no mask; add it." for k in range(5)]
        other = "/a b/masks/x.png is truncated; copy it again."
        lines = summarise([texts[0], other, *texts[1:]])
        assert lines == [
            f"5 times: {texts[0]} So it is with 4 more, such as /a b/images/c 01.png.",
            other,
        ]

    def test_two_are_shown_as_they_are(self):
        texts = [f"/d/{k}.png has no mask; add it." for k in range(2)]
        assert summarise(texts) == texts

    def test_ids_in_quotes_are_no_difference(self):
        texts = [f"/d/{k} gives the id '{k}' to {n} cases." for n, k in enumerate(("x", "y", "z"))]
        assert len(summarise(texts)) == 1

    def test_nothing(self):
        assert summarise([]) == []
