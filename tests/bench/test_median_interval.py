"""The interval of a median that benches print."""

from __future__ import annotations

import math

import pytest

from antiphon.bench._lib.statistics import median_interval

pytestmark = pytest.mark.pure


def test_of_ten_rounds_the_second_and_the_ninth_enclose_the_median_with_98_percent() -> None:
    least, most, confidence = median_interval([10, 9, 8, 7, 6, 5, 4, 3, 2, 1])
    assert (least, most) == (2, 9)
    assert math.isclose(confidence, 1 - 22 / 1024)


def test_few_rounds_have_the_confidence_that_they_have() -> None:
    assert median_interval([3, 1, 2]) == (1, 3, 0.75)
    assert median_interval([5]) == (5, 5, 0)
