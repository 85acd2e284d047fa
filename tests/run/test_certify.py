"""What a run may guarantee, on which cases, and how often."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace

import pytest

from rareseg.data.builtin.specks import SpecksSettings, write_specks
from rareseg.decision.decisions import Decisions
from rareseg.decision.guarantees.guarantee import Certificate, EstimatedGuarantee, make_guarantee
from rareseg.decision.guarantees.guarantee_search import GuaranteedPoint
from rareseg.decision.operating_point import Infeasible, OperatingPoint
from rareseg.errors import DataError, UsageError
from rareseg.prediction.bundle import load_decisions, load_model
from rareseg.run.certify import certify, declared
from rareseg.run.evaluate import evaluate
from rareseg.run.outputs.guarantee_text import describe_guarantee, statement_lines
from rareseg.run.scores.network_source import NetworkSource
from rareseg.run.setup.run_folder import DataOptions
from rareseg.run.tune import Rule, tune_source
from rareseg_runner.decision.component_size import Size

EASY = SpecksSettings(size=64, contrast=8.0, foreground_share=0.06, distractors=1)
ALARM = make_guarantee("false alarm rate", 0.2, confidence=0.9)
MISSED = make_guarantee("false negative rate", 0.3, confidence=None)


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the finished run, free to be changed."""
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture(scope="module")
def unseen(tmp_path_factory):
    """40 other plates under other names, half of them empty."""
    settings = replace(EASY, images=40, seed=77)
    data = write_specks(tmp_path_factory.mktemp("unseen") / "data", settings)
    rows = list(csv.DictReader((data / "manifest.csv").open()))
    write_manifest(data, [{**r, "id": f"new{r['id']}", "group": f"new{r['group']}"} for r in rows])
    return data


def write_manifest(data, rows):
    with (data / "manifest.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["id", "image", "mask", "group"])
        writer.writeheader()
        writer.writerows(rows)


def only(guaranteed):
    (result,) = guaranteed.values()
    return result


def test_unseen_cases_certify_and_the_bundle_keeps_what_they_stand_for(run, unseen):
    said = []
    kept = only(certify(run, MISSED, certify_on=unseen, say=said.append))
    assert isinstance(kept, GuaranteedPoint)
    assert type(kept.statement) is Certificate
    assert kept.statement.n_groups == 20
    assert not kept.statement.assumes_independent_images
    model, decisions = load_model(run / "bundle"), load_decisions(run / "bundle")
    region = kept.point.region
    assert decisions.points[region] == kept.point
    assert decisions.statements[region] == (kept.statement,)
    assert said == [f"{unseen}: 40 cases in 40 groups", describe_guarantee(kept)]
    ((line,),) = statement_lines(decisions, model.arithmetic("cpu")).values()
    assert line.startswith(f"certificate for {region}: share of its voxels that is missed")
    other = replace(model, precision="bf16" if model.precision == "32" else "32")
    ((line,),) = statement_lines(decisions, other.arithmetic("cpu")).values()
    assert line.startswith(f"void (precision was {model.precision} and is now {other.precision})")
    other = replace(model, digest="of other weights")
    ((line,),) = statement_lines(decisions, other.arithmetic("cpu")).values()
    assert line.startswith("void (it belongs to other weights)")


def test_the_same_again_is_the_same_but_a_second_guarantee_is_an_estimate(run, unseen):
    first = only(certify(run, MISSED, certify_on=unseen))
    assert only(certify(run, MISSED, certify_on=unseen)) == first
    second = only(certify(run, replace(MISSED, alpha=0.35), certify_on=unseen))
    assert type(second.statement) is EstimatedGuarantee
    assert "can certify only once" in second.statement.method
    region = first.point.region
    assert load_decisions(run / "bundle").statements[region] == (first.statement, second.statement)


def test_regions_of_one_call_share_the_confidence():
    asked = {name: OperatingPoint(name, 0.5) for name in "abc"}
    asked["d"] = Infeasible("d", "no validation case holds it")
    assert declared(ALARM, asked) == replace(ALARM, together=3)
    assert declared(MISSED, asked) == MISSED  # in expectation nothing is shared


def test_cases_that_stood_for_another_region_give_an_estimate(run, unseen, tmp_path):
    shutil.copytree(run, tmp_path / "other")
    kept = only(certify(run, MISSED, certify_on=unseen))
    bundle = tmp_path / "other" / "bundle"
    spent = {kept.point.region: (kept.statement.cases, "something else")}
    load_decisions(bundle).guarantee({}, spent).save(bundle)
    second = only(certify(tmp_path / "other", MISSED, certify_on=unseen))
    assert type(second.statement) is EstimatedGuarantee
    assert "can certify only once" in second.statement.method


def test_what_an_evaluation_has_shown_certifies_nothing(run, unseen, tmp_path):
    evaluate(run, unseen, tmp_path / "evaluation")
    found = only(certify(run, MISSED, certify_on=unseen))
    assert type(found.statement) is EstimatedGuarantee
    assert "an evaluation has shown before" in found.statement.method


def test_a_certificate_that_ends_is_said(run, unseen):
    first = only(certify(run, MISSED, certify_on=unseen))
    said = []
    certify(run, replace(MISSED, alpha=0.35), certify_on=unseen, say=said.append)
    moved = only(certify(run, replace(MISSED, alpha=0.35), certify_on=unseen)).point
    ends = [line for line in said if "ends an earlier certificate" in line]
    if moved == first.point:
        assert not ends
    else:
        assert first.statement.guarantee.sentence in ends[0]
    kept = GuaranteedPoint(replace(first.point, threshold=0.987), first.statement)
    region = first.point.region
    decisions = Decisions.none([region]).guarantee({region: first}, {})
    assert decisions.ended_by({region: kept}) == [(region, first.statement)]
    assert not decisions.ended_by({region: first})


def test_the_command_line_guarantees_with_confidence_unless_told_otherwise(run, unseen, call):
    guarantee = ("tune", run, "--max-false-negative-rate", 0.6, "--certify-on", unseen)
    told = call(*guarantee)
    assert told.code == 0, told.err
    assert "with 95 % confidence" in told.out
    assert "in expectation" in call(*guarantee, "--in-expectation").out
    both = call(*guarantee, "--in-expectation", "--confidence", 0.9)
    assert both.code == 2
    assert "contradict each other" in both.err


def test_groups_of_cases_that_nobody_names_are_refused(run, call):
    told = call("tune", run, "--max-false-negative-rate", 0.6, "--group-from", "(.)")
    assert told.code == 2
    assert "say how --certify-on or --references is read" in told.err


def test_a_point_chosen_anew_loses_its_certificate(run, unseen):
    kept = only(certify(run, MISSED, certify_on=unseen))
    region = kept.point.region
    tune_source(NetworkSource.open(run), Rule.by_hand(0.75))
    decisions = load_decisions(run / "bundle")
    assert decisions.statements[region] == (kept.statement,)
    assert statement_lines(decisions, load_model(run / "bundle").arithmetic("cpu")) == {}


def test_too_few_groups_are_told_so_and_stay_unused(run, unseen):
    before = (run / "bundle" / "decisions.json").read_bytes()
    refused = only(certify(run, replace(MISSED, alpha=0.01), certify_on=unseen))
    assert isinstance(refused, Infeasible)
    assert "at least 99 groups with positive images, and there are 20" in refused.reason
    assert refused.needed_groups == 99
    assert (run / "bundle" / "decisions.json").read_bytes() == before
    assert type(only(certify(run, MISSED, certify_on=unseen)).statement) is Certificate


def test_cases_that_were_scored_are_used_up_whatever_came_of_it(run, unseen):
    result = only(certify(run, ALARM, certify_on=unseen))
    region = result.region if isinstance(result, Infeasible) else result.point.region
    assert len(load_decisions(run / "bundle").spent[region]) == 1
    assert type(only(certify(run, MISSED, certify_on=unseen)).statement) is EstimatedGuarantee


def test_objects_and_a_smallest_component_are_certified_too(run, unseen):
    objects = make_guarantee("false negative rate", 0.6, level="object", confidence=None)
    kept = only(certify(run, objects, certify_on=unseen, rule=Rule.of("dice", (2,))))
    assert kept.statement.guarantee.level == "object"
    assert kept.statement.value <= 0.6
    assert kept.point.smallest_component == Size(2, "pixels")


def test_validation_cases_give_an_estimate(run):
    found = only(certify(run, replace(MISSED, alpha=0.6)))
    assert type(found.statement) is EstimatedGuarantee
    assert found.statement.role == "validation"
    assert "--certify-on" in found.statement.method


def test_cases_of_the_certify_role_certify(run):
    rows = (run / "split.csv").read_text().splitlines()
    moved = [row.replace(",test", ",certify") for row in rows]
    (run / "split.csv").write_text("\n".join(moved) + "\n")
    (run / "data_identity.json").unlink()  # to which the split is bound
    found = only(certify(run, replace(MISSED, alpha=0.6)))
    assert type(found.statement) is Certificate
    assert found.statement.role == "certify"


def test_cases_that_the_model_has_seen_are_refused(run, specks, unseen, tmp_path):
    with pytest.raises(DataError, match="is what the model was trained on"):
        certify(run, ALARM, certify_on=specks)
    data = shutil.copytree(unseen, tmp_path / "mixed")
    rows = list(csv.DictReader((data / "manifest.csv").open()))
    roles = csv.DictReader((run / "split.csv").open())
    seen = next(row for row in roles if row["role"] == "train")
    shutil.copy(specks / "images" / f"{seen['id']}.png", data / rows[0]["image"])
    with pytest.raises(DataError, match=f"the same image as the run's train case '{seen['id']}'"):
        certify(run, ALARM, certify_on=DataOptions(str(data)))
    write_manifest(data, [{**rows[1], "group": seen["group"]}, *rows[2:]])
    with pytest.raises(DataError, match=f"same group .'{seen['group']}'. as the run's train case"):
        certify(run, ALARM, certify_on=data)
    with pytest.raises(UsageError, match="is not a region"):
        certify(run, ALARM, certify_on=unseen, region="nowhere")
