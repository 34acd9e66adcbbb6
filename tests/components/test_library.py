"""The window of a run, and the slots that its spans sit in."""

import random

import pytest

from components.errors import UserError
from components.library import slots, window_spans


def test_a_window_is_the_last_spans_up_to_its_end_that_may_be_used():
    spans = [1, 2, 3, 5, 8, 9]
    assert window_spans(spans, 8, 3, ()) == (3, 5, 8)
    assert window_spans(spans, 8, 3, {5, 9}) == (2, 3, 8)
    assert window_spans(list(reversed(spans)), 2, 3, ()) == (1, 2)
    assert window_spans(spans, 9, 1, {1, 2}) == (9,)


@pytest.mark.parametrize(
    ("end", "exclude", "said"),
    [
        (4, (5,), r"span 4: it is not complete \(spans to choose from: 1, 2\)"),
        (5, (5, 2), r"span 5: it is excluded \(spans to choose from: 1\)"),
        (1, (1, 2, 5), "excluded .*: none"),
    ],
)
def test_a_window_ends_at_a_span_that_may_be_used(end, exclude, said):
    with pytest.raises(UserError, match=said):
        window_spans([1, 2, 5], end, 3, exclude)


def test_consecutive_spans_keep_their_slots_from_window_to_window():
    for size in range(1, 9):
        for end in range(1, 40):
            window = window_spans(range(1, 41), end, size, ())
            placed = slots(window, size)
            assert all(placed[span % size] == span for span in window)
            assert placed.count(None) == size - len(window)


def test_every_span_has_one_slot_whatever_the_gaps():
    draw = random.Random(7)
    for _ in range(2000):
        size = draw.randint(1, 9)
        window = draw.sample(range(1, 4 * size + 1), draw.randint(0, size))
        placed = slots(window, size)
        assert len(placed) == size
        assert sorted(span for span in placed if span is not None) == sorted(window)
        assert placed == slots(sorted(window), size), "the order of the window must not matter"
        for slot in range(size):
            wanted = [span for span in window if span % size == slot]
            if wanted:  # nobody is put out by a newcomer
                assert placed[slot] == min(wanted)


def test_those_without_a_slot_of_their_own_take_the_next_free_one():
    assert slots((1, 2, 4), 3) == (4, 1, 2)
    assert slots((2, 4, 5), 3) == (5, 4, 2)
    assert slots((3, 7, 11), 4) == (7, 11, None, 3)
    assert slots((), 2) == (None, None)


@pytest.mark.parametrize("window", [(1, 2, 3), (1, 1)])
def test_a_window_fits_its_slots(window):
    with pytest.raises(ValueError, match="do not fit into 2 slots"):
        slots(window, 2)
