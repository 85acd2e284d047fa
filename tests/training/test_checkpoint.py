"""States on disk: plain values come back, and nothing else is read."""

import resource
import tracemalloc
from pathlib import Path

import pytest
import torch

from rareseg.errors import RunError, WorkError
from rareseg.training.checkpoint import load_state, require_state, save_state

STATE = {
    "network": {"weight": torch.arange(6.0).reshape(2, 3), "counter": torch.tensor(7)},
    "sampler": {"position": 12, "stream": {"seed": 0, "pools": ["a", "b"]}},
    "progress": {"step": 12, "best_score": 0.5, "waited": 0.1},
}


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


def test_a_state_comes_back(tmp_path):
    save_state(tmp_path / "deep" / "last.pt", STATE)
    state = load_state(tmp_path / "deep" / "last.pt")
    assert torch.equal(state["network"].pop("weight"), STATE["network"]["weight"])
    assert int(state["network"].pop("counter")) == 7
    assert (state["sampler"], state["progress"]) == (STATE["sampler"], STATE["progress"])


def test_there_is_none_yet(tmp_path):
    assert load_state(tmp_path / "last.pt") is None


def test_code_is_refused_and_does_not_run(tmp_path):
    path, trace = tmp_path / "last.pt", tmp_path / "it-ran"
    torch.save({"network": Trap(trace)}, path)
    with pytest.raises(RunError, match=r"last\.pt cannot be read as a checkpoint"):
        load_state(path)
    assert not trace.exists()
    # The trap is one: reading it without care makes the file.
    torch.load(path, weights_only=False)
    assert trace.exists()


@pytest.mark.parametrize("kept", [0, 10, 400])
def test_a_damaged_file_says_what_to_do(kept, tmp_path):
    path = tmp_path / "last.pt"
    save_state(path, STATE)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(RunError, match="delete it to start this run from the beginning"):
        load_state(path)


def test_a_failed_write_keeps_the_file_before(tmp_path):
    path = tmp_path / "last.pt"
    save_state(path, STATE)
    before = path.read_bytes()
    with pytest.raises((TypeError, AttributeError)):
        save_state(path, {"network": (number for number in range(3))})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


def test_a_disk_that_fills_up_is_told_and_keeps_the_file_before(tmp_path):
    path = tmp_path / "last.pt"
    save_state(path, STATE)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(WorkError, match=r"last\.pt"):
            save_state(path, {"weight": torch.zeros(4 << 20, dtype=torch.uint8)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


def test_a_state_is_not_copied_to_be_written(tmp_path):
    size = 8 << 20
    state = {"weight": torch.zeros(size, dtype=torch.uint8)}
    save_state(tmp_path / "last.pt", STATE)
    tracemalloc.start()
    try:
        save_state(tmp_path / "last.pt", state)
        assert tracemalloc.get_traced_memory()[1] < size // 2
    finally:
        tracemalloc.stop()
    assert (tmp_path / "last.pt").stat().st_size > size


def test_weights_that_are_gone_are_told_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"best\.pt is gone.*delete .*last\.pt"):
        require_state(tmp_path / "best.pt", beside="last.pt")
