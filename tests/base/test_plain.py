"""Numbers as people read them."""

import pytest

from hftransfer.base.plain import shown_number


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
