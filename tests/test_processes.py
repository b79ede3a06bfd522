"""One function over many items, in this process and others."""

from __future__ import annotations

import math

import pytest

from curation.processes import in_order, processes


def test_results_come_in_the_order_of_the_items_however_many_work() -> None:
    assert list(in_order(abs, range(-300, 0), 1)) == list(in_order(abs, range(-300, 0), 3)) == list(range(300, 0, -1))


def test_processes_stay_for_all_uses() -> None:
    with processes(2) as mapped:
        assert list(mapped(abs, [-1, -2])) == [1, 2]
        assert list(mapped(math.sqrt, [4.0])) == [2.0]
        assert list(mapped(abs, [])) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_what_fails_fails_here(workers: int) -> None:
    with pytest.raises(ValueError, match=r"math domain|nonnegative"):
        list(in_order(math.sqrt, [1.0, -1.0, *[1.0] * 50], workers))
