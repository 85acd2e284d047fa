"""Made ahead: in order, as far as asked, and no further."""

import threading

import pytest

from rareseg.sampling.prefetch import prefetched


@pytest.mark.parametrize("ahead", [0, 1, 3, 20])
def test_all_comes_in_order(ahead: int) -> None:
    assert list(prefetched(lambda n: n * n, range(7), ahead)) == [n * n for n in range(7)]
    assert list(prefetched(lambda n: n, range(0), ahead)) == []


@pytest.mark.parametrize("ahead", [1, 2, 5])
def test_no_more_is_begun_than_asked_for(ahead: int) -> None:
    begun: list[int] = []
    stream = prefetched(lambda n: begun.append(n), range(100), ahead)
    for received in range(1, 6):
        next(stream)
        assert len(begun) <= received - 1 + ahead
    stream.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("patch-sampler")]


@pytest.mark.parametrize("ahead", [0, 2])
def test_a_failure_reaches_the_one_who_waits(ahead: int) -> None:
    def make(number: int) -> int:
        if number == 2:
            raise ValueError("two")
        return number

    stream = prefetched(make, range(5), ahead)
    assert [next(stream), next(stream)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(stream)
