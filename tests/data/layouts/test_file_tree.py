"""The files of a data set: each folder is listed once, links lead round no loop."""

import os

from rareseg.data.layouts.file_tree import MOST_LEVELS, FileTree


def test_a_folder_is_listed_once_and_others_not_at_all(tmp_path, monkeypatch):
    for name in ("a/b", "c"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "x.png").touch()
    listed = []
    scandir = os.scandir

    def counted(path):
        listed.append(str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", counted)
    tree = FileTree(tmp_path)
    assert tree.folders() == ["a", "c"]
    assert [path.name for path in tree.images("c")] == ["x.png"]
    assert tree.files("c") == ["x.png"]
    assert len([path for path in listed if path == str(tmp_path / "c")]) == 1
    assert not any(path.endswith("b") for path in listed)
    assert [folder for folder, _ in tree.walk()] == ["", "a", "a/b", "c"]
    assert len(set(listed)) == len(listed)


def test_what_is_absent_or_a_file_holds_nothing(tmp_path):
    (tmp_path / "file.txt").touch()
    tree = FileTree(tmp_path)
    assert tree.files("absent") == tree.folders("file.txt") == []


def test_links_lead_round_no_loop_and_depth_ends(tmp_path):
    deep = tmp_path / "/".join(["d"] * (MOST_LEVELS + 2))
    deep.mkdir(parents=True)
    (tmp_path / "d" / "back").symlink_to(tmp_path)
    walked = [folder for folder, _ in FileTree(tmp_path).walk()]
    assert walked == ["/".join(["d"] * k) for k in range(MOST_LEVELS + 1)]
