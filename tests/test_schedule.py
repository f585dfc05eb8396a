import pytest
import yaml

from conftest import fixture_params
from counterpoint.core.errors import InputError
from counterpoint.core.params import parse_params
from counterpoint.experiments.sweeps import DECAYS, all_else, overrides
from counterpoint.negatives.schedule import Schedule


def params(**changes):
    return parse_params(yaml.safe_dump(fixture_params(**changes)), "params.yaml")


@pytest.mark.parametrize(
    ("start", "decay", "floor", "rates"),
    [
        (1.0, 0.1, 0.0, [1.0, 0.9, 0.8, 0.7]),  # the original went 0.8, 1.0, 0.99
        (1.0, 0.005, 0.0, [1.0, 0.995, 0.99, 0.985]),
        (1.0, None, 0.0, [1.0, 1.0, 1.0, 1.0]),  # the original decayed here, too
        (0.4, None, 0.1, [0.4, 0.4, 0.4, 0.4]),
        (1.0, 0.4, 0.1, [1.0, 0.6, 0.2, 0.1]),
        (1.0, 0.0, 0.0, [1.0, 1.0, 1.0, 1.0]),
        (0.25, -0.25, 0.0, [0.25, 0.5, 0.75, 1.0]),  # reversed
        (0.5, -0.4, 0.0, [0.5, 0.9, 1.0, 1.0]),
        (0.0, -0.5, 0.0, [0.0, 0.5, 1.0, 1.0]),
        (0.0, 0.5, 0.0, [0.0, 0.0, 0.0, 0.0]),
    ],
)
def test_the_rate_starts_at_random_rate_and_falls_by_decay(start, decay, floor, rates):
    assert [Schedule(start, decay, floor).rate(epoch) for epoch in range(4)] == rates


@pytest.mark.parametrize(
    ("shape", "start", "decay", "floor", "rates"),
    [
        ("exponential", 1.0, 0.5, 0.0, [1.0, 0.5, 0.25, 0.125]),
        ("exponential", 0.8, 0.5, 0.3, [0.8, 0.4, 0.3, 0.3]),
        ("exponential", 1.0, 1.0, 0.1, [1.0, 0.1, 0.1, 0.1]),
        ("cosine", 1.0, 0.5, 0.0, [1.0, 0.5, 0.0, 0.0]),
        ("cosine", 1.0, 0.25, 0.2, [1.0, round(0.2 + 0.4 * (1 + 2**-0.5), 12), 0.6, round(0.2 + 0.4 * (1 - 2**-0.5), 12)]),
        *((shape, 0.7, None, 0.1, [0.7] * 4) for shape in ("linear", "exponential", "cosine")),
        *((shape, 0.7, 0.0, 0.1, [0.7] * 4) for shape in ("linear", "exponential", "cosine")),
    ],
)
def test_the_other_shapes_by_hand(shape, start, decay, floor, rates):
    assert [Schedule(start, decay, floor, shape).rate(epoch) for epoch in range(4)] == rates


@pytest.mark.parametrize(
    ("changes", "name", "label"),
    [
        ({"decay": 0.1, "schedule": "cosine"}, "cosine-0.1", "cosine 0.1"),
        ({"decay": 0.25, "schedule": "exponential"}, "exponential-0.25", "exponential 0.25"),
        ({"decay": "none", "schedule": "cosine"}, "decay-none", "none"),
        ({"random_rate": 0, "schedule": "cosine"}, "never-random", "never random"),
        ({"decay": 0.005}, "decay-0.005", "0.005"),
        ({"decay": 0.1}, "decay-0.1", "0.1"),
        ({"decay": -0.25, "random_rate": 0.25}, "decay--0.25", "-0.25"),
        ({"decay": -0.25, "random_rate": 0}, "decay--0.25", "-0.25"),
        ({"decay": "none"}, "decay-none", "none"),
        ({"decay": 0}, "decay-0", "0"),
        ({"random_rate": 0, "decay": 0.1}, "never-random", "never random"),
    ],
)
def test_a_schedule_has_its_name(changes, name, label):
    schedule = Schedule.of(params(**changes))
    assert (schedule.name, schedule.label) == (name, label)


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({"decay": 0.4}, "decay 0.4 from random rate 1"),
        ({"decay": 0.4, "floor": 0.1}, "decay 0.4 from random rate 1 to 0.1"),
        ({"decay": 0.4, "schedule": "cosine"}, "cosine decay 0.4 from random rate 1"),
        ({"decay": -0.25, "random_rate": 0.25}, "decay -0.25 from random rate 0.25 upwards"),
        ({"decay": "none", "random_rate": 0.5}, "no decay: random rate 0.5 throughout"),
        ({"decay": 0.4, "random_rate": 0}, "never random: mined negatives from the first epoch on"),
    ],
)
def test_a_schedule_has_its_title(changes, title):
    assert Schedule.of(params(**changes)).title == title


def test_schedules_that_never_draw_at_random_are_equal():
    assert Schedule.of(params(random_rate=0, decay=0.1)) == Schedule.of(params(random_rate=0, decay="none"))


def test_schedules_sort_from_no_decay_to_never_random():
    values = [{"random_rate": 0}, {"decay": 0.5}, {"decay": 0.1, "schedule": "cosine"}, {"decay": "none"}, {"decay": 0.05}]
    ordered = sorted((Schedule.of(params(**changes)) for changes in values), key=lambda schedule: schedule.order)
    assert [schedule.label for schedule in ordered] == ["none", "0.05", "0.5", "cosine 0.1", "never random"]


def test_words_become_overrides_for_dvc():
    assert overrides("0.10") == ["decay=0.1"]
    assert overrides("0.123456789") == ["decay=0.123456789"]
    assert overrides("none") == ["decay=none"]
    assert overrides("cosine-0.10") == ["schedule=cosine", "decay=0.1"]
    assert overrides("-0.1") == ["decay=-0.1"]  # which params refuse
    assert overrides("never-random") == ["random_rate=0", "floor=0", "decay=none"]
    with pytest.raises(InputError, match=r"--decays must be numbers, none, never-random or like cosine-0.1; got 'fast'"):
        overrides("fast")


def test_the_decays_of_the_original_code():
    assert DECAYS["original"] == ("none", "0.005", "0.01", "0.015", "0.02", "0.03", "0.04", "0.05")
    assert DECAYS["default"] == ("none", "0.05", "0.1", "0.2", "0.5", "never-random")


def test_runs_of_one_sweep_agree_in_all_else():
    same = [params(), params(seed=1), params(decay=0.1), params(random_rate=0)]
    assert all(all_else(run) == all_else(same[0]) for run in same)
    assert all_else(params(train__epochs=2)) != all_else(params())
