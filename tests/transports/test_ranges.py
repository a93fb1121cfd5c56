"""A mark and ranges above it: as a set of numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from transports.wire.ranges import Ranges, among


@given(st.lists(st.integers(1, 30), max_size=60))
def test_ranges_are_a_set_of_numbers(numbers: list[int]) -> None:
    ranges, model = Ranges(), dict[int, None]()
    for number in numbers:
        assert ranges.add(number) is (number not in model)
        model[number] = None
        held = list(range(1, ranges.below + 1))
        part = ranges.part(0, 100)
        assert len(part) == len(ranges)
        end = ranges.below
        for first, last in part:
            # They neither touch one another nor the mark.
            assert end + 1 < first <= last
            held += range(first, last + 1)
            end = last
        assert held == sorted(model)


def test_a_part_begins_where_it_is_told_to_and_has_an_end() -> None:
    ranges = Ranges()
    for number in range(2, 12, 2):
        ranges.add(number)
    assert ranges.part(1, 2) == ((4, 4), (6, 6))
    assert ranges.part(4, 2) == ((10, 10),)
    assert ranges.part(5, 2) == ()


@given(st.sets(st.integers(1, 40)), st.sets(st.integers(1, 40), min_size=1))
def test_all_that_are_in_the_ranges_are_found_in_order(held: set[int], told: set[int]) -> None:
    ranges = Ranges()
    for number in sorted(told):
        ranges.add(number + 1)
    found = among(sorted(held), ranges.part(0, 100))
    assert [number for number in found if number in held] == sorted(
        number for number in held if number - 1 in told
    )


def test_a_range_that_is_long_costs_no_more_than_what_is_held() -> None:
    assert among([1, 7, 2**60], ((2, 2**50), (2**60, 2**61))) == [7, 2**60]
