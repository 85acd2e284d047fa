"""A store with one flipped bit is found when it is opened, and built again where that can be."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from rareseg.data.store.array_store import store_from_arrays
from rareseg.data.store.relabelled_store import relabel
from rareseg.data.store.store import Store, open_store
from rareseg.errors import StoreError
from rareseg_runner.image_records import Classes

RNG = np.random.default_rng(0)
IMAGES = {f"c{k}": RNG.integers(0, 255, (2, 1, 20, 24 + k), dtype=np.uint8) for k in range(4)}
LABELS = {f"c{k}": RNG.integers(0, 2, (1, 20, 24 + k), dtype=np.uint8) for k in range(4)}
FILES = ("images.bin", "labels.bin", "cases.npz", "store.json")


def build(folder: Path) -> Store:
    return store_from_arrays(folder, IMAGES, LABELS)


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_anywhere_is_found_and_mended(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    build(folder)
    whole = {file: (folder / file).read_bytes() for file in FILES}
    size = len(whole[name])
    for at in sorted({*range(0, size, max(1, size // 40)), size - 1}):
        flip(folder / name, at)
        with pytest.raises(StoreError, match=r"store"):
            open_store(folder)
        build(folder)
        assert {file: (folder / file).read_bytes() for file in FILES} == whole


def test_the_case_is_named(tmp_path: Path) -> None:
    store = build(tmp_path / "store")
    flip(tmp_path / "store" / "images.bin", int(store.cases.image_offset[2]) + 5)
    with pytest.raises(StoreError, match="checksum of the image of case 'c2' differs"):
        open_store(tmp_path / "store")
    flip(tmp_path / "store" / "images.bin", int(store.cases.image_offset[2]) + 5)
    flip(tmp_path / "store" / "labels.bin", int(store.cases.label_offset[3]) + 5)
    with pytest.raises(StoreError, match="checksum of the labels of case 'c3' differs"):
        open_store(tmp_path / "store")


def test_workers_take_what_the_command_has_verified(tmp_path: Path) -> None:
    store = build(tmp_path / "store")
    flip(tmp_path / "store" / "images.bin", 0)
    assert pickle.loads(pickle.dumps(store)).cases.ids == store.cases.ids
    assert open_store(tmp_path / "store", verify=False).key == store.key


def test_a_store_of_an_earlier_version_is_opened_as_it_is(tmp_path: Path) -> None:
    build(tmp_path / "store")
    path = tmp_path / "store" / "store.json"
    about = json.loads(path.read_text(encoding="utf-8"))
    del about["checksums"]
    path.write_text(json.dumps(about), encoding="utf-8")
    assert len(open_store(tmp_path / "store")) == 4


def test_other_labels_have_checksums_of_their_own(tmp_path: Path) -> None:
    store = build(tmp_path / "store").subset(["c1", "c3"])
    classes = Classes(("background", "a"), (0, 1), {"a": (1,)})
    made = relabel(
        store, tmp_path / "other", lambda row: 1 - store.label(row), classes=classes, key="k"
    )
    assert open_store(tmp_path / "other").key == made.key
    flip(tmp_path / "other" / "labels.bin", int(store.cases.label_offset[0]) + 1)
    with pytest.raises(StoreError, match="labels of case 'c1'"):
        open_store(tmp_path / "other")


def test_all_is_on_the_disk_before_the_name_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, synced = tmp_path / "store", []
    really = os.fsync

    def fsync(handle: int) -> None:
        really(handle)
        place = Path(f"/proc/self/fd/{handle}").readlink()
        synced.append((place.name if place != tmp_path else "PARENT", folder.exists()))

    if not Path("/proc/self/fd").exists():
        pytest.skip("this system does not say which file a handle is of")
    monkeypatch.setattr(os, "fsync", fsync)
    build(folder)
    assert {name for name, named in synced if not named} >= set(FILES)
    assert synced[-1] == ("PARENT", True)
