import pytest

from counterpoint.rules import choice, flag, integer, number, optional, text


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (number(), "a number"),
        (number(0), "a number of at least 0"),
        (number(0, above=True), "a number above 0"),
        (number(0, 1), "a number from 0 to 1"),
        (number(0, 1, above=True), "a number above 0, at most 1"),
        (integer(1), "an integer of at least 1"),
        (choice("a", "b"), "one of a, b"),
        (optional(number(0)), "a number of at least 0, or none"),
        (flag(), "true or false"),
        (text(), "a non-empty string"),
    ],
)
def test_a_rule_says_what_it_accepts(rule, says):
    assert rule.says == says


@pytest.mark.parametrize(
    ("rule", "value", "accepted"),
    [
        (number(0, 1), "1e-05", 1e-5),
        (number(0, 1), 1, 1.0),
        (integer(1), "3", 3),
        (optional(integer(1)), "none", None),
        (optional(integer(1)), None, None),
        (flag(), False, False),
    ],
)
def test_a_value_is_read(rule, value, accepted):
    assert rule.accept(value) == accepted


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        (number(0, 1), 1.01), (number(0, above=True), 0), (number(), True), (number(), "x"), (number(), float("inf")),
        (number(), [1]), (integer(), 1.5), (integer(0, 3), 4), (choice("a"), "b"), (flag(), 0), (text(), " "), (text(), 1),
        (optional(text()), ""),
    ],
)  # fmt: skip
def test_a_value_outside_the_rule_is_refused(rule, value):
    with pytest.raises(ValueError):  # noqa: PT011
        rule.accept(value)
