"""Numbers as people read them."""

import pytest

from hftransfer.base.plain import shown_number, shown_value


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.98765, "0.9877"),
        (0.0, "0.0000"),
        (-1.5, "-1.5000"),
        (1.234e-5, "1.23e-05"),
        (126908.0449, "126,908"),
        (2.5e12, "2.5e+12"),
        (float("nan"), "nan"),
    ],
)
def test_scores_have_the_digits_that_say_something(value: float, shown: str) -> None:
    assert shown_number(value) == shown


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [
        (1234567.0, 6, "1234567"),
        (-425000.4, 4, "-425000"),
        (2015.26, 4, "2015"),
        (3.14159265, 6, "3.14159"),
        (0.0, 6, "0"),
        (1.5e-7, 6, "1.5e-07"),
        (2e18, 6, "2e+18"),
    ],
)
def test_a_price_has_all_its_digits(value: float, digits: int, shown: str) -> None:
    assert shown_value(value, digits) == shown
