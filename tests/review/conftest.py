"""A run of two folds on specks whose labels hold planted faults, and suspects that name them."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import SimpleITK as sitk
from scipy import ndimage

from rareseg.quality.suspects import Suspect, save_suspects
from rareseg.review.open_review import open_page_api
from rareseg.review.server import TOKEN_HEADER, ReviewServer
from rareseg_runner.image_records import IGNORE


def erase_and_invent(masks: Path) -> list[Suspect]:
    """Take a speck out of some masks and draw one into others; returns where."""
    suspects = []
    for number, path in enumerate(sorted(masks.iterdir())):
        mask = np.asarray(PIL.Image.open(path)).copy()
        found, count = ndimage.label(mask, np.ones((3, 3)))
        if count > 1 and number % 2 == 0:
            y, x = ndimage.find_objects(found)[0]
            mask[found == 1] = 0
            kind, reason = "missed object", "it was erased"
        elif not count and number % 3 == 0:
            y, x = slice(20, 27), slice(30, 36)
            mask[y, x] = 255
            kind, reason = "spurious label", "it was invented"
        else:
            continue
        PIL.Image.fromarray(mask).save(path)
        box = ((0, 1), (y.start, y.stop), (x.start, x.stop))
        voxels = (y.stop - y.start) * (x.stop - x.start)
        name = f"{kind.split()[0]}-{path.stem}"
        group = path.stem.split("_")[0]
        suspects.append(
            Suspect(name, path.stem, group, "foreground", kind, 0.9, box, voxels, 0, reason)
        )
    return suspects


def components(mask: np.ndarray) -> list[set]:
    found, count = ndimage.label(mask, np.ones((3,) * mask.ndim))
    return [set(map(tuple, np.argwhere(found == number))) for number in range(1, count + 1)]


def stake_by_hand(labels: np.ndarray, predicted: np.ndarray, members, box) -> np.ndarray:
    """Voxels (z, y, x) of the components that lie in a box for at least half, and of partners."""
    drawn, seen = (components(np.isin(array, members)) for array in (labels, predicted))

    def inside(voxel):
        return all(low <= at < high for at, (low, high) in zip(voxel, box, strict=True))

    def for_the_most_part(part):
        return 2 * sum(map(inside, part)) >= len(part)

    cores = [[part for part in side if for_the_most_part(part)] for side in (drawn, seen)]
    about = set().union(*cores[0], *cores[1])
    for side, others in ((drawn, cores[1]), (seen, cores[0])):
        core = set().union(*others)
        about |= set().union(*(part for part in side if part & core))
    if not about:
        about = {voxel for part in (*drawn, *seen) for voxel in part if inside(voxel)}
    affected = np.zeros(labels.shape, bool)
    for voxel in about:
        affected[voxel] = True
    return affected & (labels != IGNORE)


@pytest.fixture(scope="session")
def at_stake():
    """What is affected, once more: with sets of voxels and scipy's components."""
    return stake_by_hand


@pytest.fixture(scope="session")
def trained(specks, call, settings, tmp_path_factory) -> Path:
    """A folder with data/, run/ (two folds, suspects.json); nobody changes it."""
    place = tmp_path_factory.mktemp("review")
    shutil.copytree(specks, place / "data")
    suspects = erase_and_invent(place / "data" / "masks")
    called = call(
        "train",
        place / "data",
        "--out",
        place / "run",
        "--folds",
        2,
        *settings(training__steps=150),
    )
    assert called.code == 0, called.err
    save_suspects(place / "run" / "suspects.json", suspects)
    return place


def write_volumes(data: Path) -> None:
    """Eight turned volumes of two channels, two classes within each other, annotators' masks."""
    rng = np.random.default_rng(8)
    rows = ["id,image_0,image_1,mask,group,mask_ada,mask_bo"]
    for number in range(8):
        drawn = np.zeros((6, 20, 24), np.uint8)
        if number < 6:
            drawn[1:5, 5:14, 6:17] = 1
            drawn[2:4, 8:12, 9:14] = 4
        noise = rng.normal(0, 20, (2, *drawn.shape))
        noise[:, drawn > 0] += 100
        noise[1, drawn == 4] += 100
        for name, array in (
            (f"a{number}", noise[0]),
            (f"b{number}", noise[1]),
            (f"m{number}", drawn),
        ):
            kind = np.uint8 if name[0] == "m" else np.int16
            image = sitk.GetImageFromArray(array.astype(kind))
            image.SetSpacing((0.9, 1.1, 2.5))
            image.SetOrigin((10.0, -20.0, 5.0))
            image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
            data.mkdir(exist_ok=True)
            sitk.WriteImage(image, str(data / f"{name}.nii.gz"))
        mask = f"m{number}.nii.gz" if number < 7 else "empty"
        rows.append(f"v{number},a{number}.nii.gz,b{number}.nii.gz,{mask},p{number},{mask},empty")
    (data / "manifest.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    labels = {"background": 0, "oedema": 1, "core": 4}
    regions = {"whole": [1, 4], "core": [4]}
    about = {"labels": labels, "regions": regions, "channel_names": {"0": "FLAIR", "1": "T1"}}
    (data / "dataset.json").write_text(json.dumps(about), encoding="utf-8")


@pytest.fixture(scope="session")
def volumes(call, settings, tmp_path_factory) -> Path:
    """A folder with data/ and run/ of volumes; four steps, since nothing need be learnt."""
    place = tmp_path_factory.mktemp("volumes")
    write_volumes(place / "data")
    few = settings(
        data__dimension=3,
        sampling__patch_size=[8, 16, 16],
        sampling__batch_size=2,
        training__steps=4,
    )
    called = call("train", place / "data", "--out", place / "run", *few)
    assert called.code == 0, called.err
    return place


@pytest.fixture
def run(trained, tmp_path) -> Path:
    """A copy of the run without decisions; its data stay where they are."""
    shutil.copytree(trained / "run", tmp_path / "run", ignore=shutil.ignore_patterns("store"))
    return tmp_path / "run"


@dataclass
class Client:
    """Talks to a server as a browser would, or as one should not."""

    server: ReviewServer

    def ask(self, method: str, path: str, *, body=None, **headers) -> tuple[int, bytes, dict]:
        """Send one request; the right token goes along unless ``token`` says otherwise."""
        given = {TOKEN_HEADER: headers.pop("token", self.server.token)}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        given = {name: value for name, value in given.items() if value is not None}
        connection = HTTPConnection("127.0.0.1", self.server.server_address[1], timeout=60)
        try:
            connection.request(method, path, body=body, headers=given)
            answer = connection.getresponse()
            return answer.status, answer.read(), dict(answer.headers)
        finally:
            connection.close()

    def get(self, path: str):
        status, body, _ = self.ask("GET", path)
        assert status == 200, body
        return json.loads(body)

    def post(self, path: str, content: object) -> tuple[int, dict]:
        body = json.dumps(content)
        status, answer, _ = self.ask("POST", path, body=body, Content_Type="application/json")
        return status, json.loads(answer)


@pytest.fixture
def serve():
    """Serve a room in this process, for as long as the test runs."""
    running = []

    def begin(api, **options) -> Client:
        server = ReviewServer(api, **options)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        running.append((server, thread, api))
        return Client(server)

    yield begin
    for server, thread, api in running:
        server.shutdown()
        thread.join()
        server.server_close()
        api.answers.close()


@pytest.fixture
def client(run, serve) -> Client:
    return serve(open_page_api(run))
