"""What all workers of a study agree on, and databases that cannot be used."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import optuna
import pytest
from sqlalchemy.exc import OperationalError

from rareseg.errors import RunError, UsageError, WorkError
from rareseg.study.study_database import StudyDatabase, reached

IDENTITY = {"code": "c", "data": "d", "shared": {"training": {"steps": 5}}}


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'study.db'}"


def test_the_first_value_holds_for_all(url):
    assert StudyDatabase(url, "table").agree({"threads": (1, 2)}) == {"threads": [1, 2]}
    later = StudyDatabase(url, "table").agree({"threads": [3], "precision": "32"})
    assert later == {"threads": [1, 2], "precision": "32"}
    assert StudyDatabase(url, "other").agree({"threads": 4}) == {"threads": 4}


def test_workers_that_begin_at_once_agree(url):
    with ThreadPoolExecutor(6) as workers:
        agreed = list(
            workers.map(lambda i: StudyDatabase(url, "table").agree({"worker": i}), range(6))
        )
    assert len({found["worker"] for found in agreed}) == 1


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"code": "e"}, "code c, not e; use the same version"),
        ({"data": "e"}, "data d, not e; use the same data"),
        ({"shared": {"training": {"steps": 6}}}, "shared.training.steps 5, not 6"),
        ({"shared": {}}, "shared.training.steps 5, not nothing"),
    ],
)
def test_a_study_of_something_else_is_refused_by_name(url, changed, named):
    StudyDatabase(url, "table").require(IDENTITY)
    StudyDatabase(url, "table").require(IDENTITY)
    with pytest.raises(RunError, match=named):
        StudyDatabase(url, "table").require({**IDENTITY, **changed})
    StudyDatabase(url, "other").require({**IDENTITY, **changed})


def test_more_can_be_required_later_and_a_refused_call_adds_nothing(url):
    database = StudyDatabase(url, "table")
    database.require({"rows.random": {"steps": 5}})
    database.require({"rows.random": {"steps": 5}, "rows.hard": {"steps": 5}})
    with pytest.raises(RunError, match=r"rows.hard.steps 5, not 6"):
        database.require({"rows.hard": {"steps": 6}, "rows.balanced": {"steps": 7}})
    database.require({"rows.balanced": {"steps": 8}})


def test_of_another_network_the_name_is_told_before_its_settings(url):
    database = StudyDatabase(url, "table")
    database.require({"shared": {"network": {"depth": 3, "name": "unet"}}})
    with pytest.raises(RunError, match=r"shared.network.name unet, not half_unet"):
        database.require({"shared": {"network": {"name": "half_unet", "width": 4}}})


def test_a_study_of_an_earlier_release_is_refused_and_its_file_left_as_it_is(url):
    """It was one of Optuna, with long texts in pieces."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    old = optuna.create_study(study_name="table", storage=url)
    old.set_user_attr("identity.0", "{}")
    old.set_user_attr("identity", 1)
    with pytest.raises(RunError, match=r"'table' was begun by an earlier release.*another --out"):
        StudyDatabase(url, "table")
    assert optuna.load_study(study_name="table", storage=url).user_attrs["identity"] == 1


def test_someone_elses_studies_of_optuna_are_not_in_the_way(url):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    optuna.create_study(study_name="table", storage=url).set_user_attr("owner", "me")
    StudyDatabase(url, "table").require(IDENTITY)


@pytest.mark.parametrize(
    ("storage", "word"),
    [
        ("nothing at all", "no database URL"),
        ("mysql://root@localhost/db", "allowed are sqlite and postgresql"),
        ("sqlite://", "names no file"),
        ("sqlite:////dev/null/study.db", "cannot be used"),
        ("postgresql+psycopg://me:secret@127.0.0.1:1/db", "cannot be used"),
        ("postgresql+nothing://me@127.0.0.1:1/db", "cannot be used"),
    ],
)
def test_a_storage_that_cannot_be_used_is_refused_in_a_sentence(storage, word):
    with pytest.raises(UsageError, match=word) as caught:
        StudyDatabase(storage, "table")
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_storage_that_is_lost_in_mid_work_is_a_sentence():
    with (
        pytest.raises(
            WorkError, match=r"cannot be reached any more .* again when it can"
        ) as caught,
        reached("postgresql+psycopg://me:secret@127.0.0.1/db"),
    ):
        raise OperationalError("SELECT 1", {}, Exception("server closed the connection"))
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
