"""The window of a run, and the slots that its spans sit in."""

import random

import pytest

from components.base.errors import UserError
from components.library.layout import slots, window_spans


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


def test_a_span_keeps_its_slot_from_window_to_window_whatever_the_gaps():
    draw = random.Random(7)
    for _ in range(300):
        size, spans = draw.randint(1, 9), sorted(draw.sample(range(1, 60), 20))
        exclude = draw.sample(spans, draw.randint(0, 5))
        usable = [span for span in spans if span not in exclude]
        homes: dict[int, int] = {}
        for end in usable:
            window = window_spans(spans, end, size, exclude)
            known = [span for span in usable if span <= end]  # later ones may not be there yet
            placed = slots(window, size, known)
            assert placed == slots(window, size, usable)
            assert len(placed) == size
            assert sorted(span for slot in placed for span in slot) == sorted(window)
            for place, slot in enumerate(placed):
                for span in slot:
                    assert homes.setdefault(span, place) == place


def test_removing_old_spans_moves_none_with_numbers_that_follow_each_other():
    for size in range(1, 9):
        for first in range(1, 20):
            usable = range(first, 30)
            window = window_spans(usable, 29, size, ())
            assert slots(window, size, usable) == slots(window, size, range(1, 30))


def test_an_empty_window_has_empty_slots():
    assert slots((), 2, (1, 2)) == ((), ())
    assert slots((4,), 3, (4,)) == ((), (4,), ())


@pytest.mark.parametrize(
    ("small", "size", "window", "placed"),
    [
        ((3, 4), 1, (2, 3, 4), ((2, 3, 4),)),
        ((3, 4), 2, (1, 2, 3, 4), ((2, 3, 4), (1,))),
        ((2, 4), 2, (1, 2, 3, 4), ((3, 4), (1, 2))),
        ((1, 2), 1, (4,), ((4,),)),
        ((1, 2, 3), 1, (1, 2, 3, 4), ((1, 2, 3, 4),)),  # none before them has all splits
        ((1, 2, 3, 4), 2, (1, 2, 3, 4), ((), (1, 2, 3, 4))),
    ],
)
def test_a_small_span_belongs_to_the_one_before_it(small, size, window, placed):
    assert window_spans((1, 2, 3, 4), 4, size, (), small) == window
    assert slots(window, size, (1, 2, 3, 4), small) == placed


@pytest.mark.parametrize("window", [(1, 2, 3), (1, 3), (1, 9)])
def test_a_window_is_of_spans_that_follow_each_other(window):
    with pytest.raises(ValueError, match="are not spans of"):
        slots(window, 2, (1, 2, 3))
