"""What a user can rely on: everybody is stopped by the same rule, and no clock runs while a policy is looked at."""

import math

import pytest

from offjax.bench.race import Point, Race, Result, outcome

THRESHOLD = 1e-5


class Clock:
    """A clock that only moves when told."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def pass_time(self, seconds):
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


def make_race(clock, regrets, looks=3.0, **options):
    """A race whose judge takes ``looks`` s and finds ``regrets``, one after the other."""
    found = iter(regrets)

    def judge(policy):
        assert policy == "policy"
        clock.pass_time(looks)
        return next(found)

    return Race(judge, THRESHOLD, clock=clock, **options)


def look(race, steps=0, updates=0):
    return race.goes_on(lambda: "policy", steps, updates)


def test_the_clock_stands_still_while_a_policy_is_looked_at(clock):
    race = make_race(clock, [0.1, 0.01, 0.0])
    race.start()
    for seconds in (1.0, 2.0, 0.5):
        clock.pass_time(seconds)
        look(race)
    assert [point.seconds for point in race.points] == [1.0, 3.0, 3.5]


def test_making_the_policy_is_off_the_clock_too(clock):
    race = make_race(clock, [0.1, 0.1])
    race.start()
    race.goes_on(lambda: clock.pass_time(50.0) or "policy", 0, 0)
    clock.pass_time(1.0)
    look(race)
    assert race.points[-1].seconds == 1.0


def test_it_ends_at_the_threshold(clock):
    race = make_race(clock, [0.1, 2e-5, 1e-5])
    race.start()
    assert [look(race, steps, 2 * steps) for steps in (10, 20, 30)] == [True, True, False]
    result = race.result()
    assert (result.reached, result.steps, result.updates, result.best_regret) == (True, 30, 60, 1e-5)


def test_it_ends_when_its_time_is_used_up(clock):
    race = make_race(clock, [0.1, 0.2], limit=5.0)
    race.start()
    assert look(race)
    clock.pass_time(6.0)
    assert not look(race, steps=7)
    result = race.result()
    assert (result.reached, result.seconds, result.steps, result.best_regret) == (False, 6.0, 7, 0.1)


def test_a_policy_that_is_no_number_has_not_arrived(clock):
    race = make_race(clock, [math.nan])
    race.start()
    look(race)
    assert not race.result().reached


def test_the_first_point_at_the_threshold_counts():
    points = [Point(1.0, 10, 1, 0.1), Point(2.0, 20, 2, 9e-6), Point(3.0, 30, 3, 0.1), Point(4.0, 40, 4, 1e-6)]
    result = outcome(points, THRESHOLD)
    assert (result.reached, result.seconds, result.steps, result.updates) == (True, 2.0, 20, 2)
    assert result.best_regret == 1e-6


def test_a_result_survives_json():
    result = outcome([Point(1.0, 10, 1, 0.1), Point(2.0, 20, 2, 9e-6)], THRESHOLD)
    assert Result.from_dict(result.to_dict() | {"set_up_seconds": 1.0}) == result


def test_a_race_without_a_look_has_no_result():
    with pytest.raises(ValueError, match="without a look"):
        outcome([], THRESHOLD)
