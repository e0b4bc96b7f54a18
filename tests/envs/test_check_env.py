"""The shipped contract test: it passes a good environment, and says of a bad one what is wrong."""

import pytest
import toys
from gymnax.wrappers import LegacyStepAPIWrapper

from offjax.envs import LegacyEnv
from offjax.errors import ConfigError, OffjaxError
from offjax.testing import ContractError, check_env

COMMON = [
    "identity", "spaces", "params", "reset", "step", "values", "keys", "jit", "time limit", "vmap", "busy",
]  # fmt: skip


def test_a_good_native_environment_passes_every_check():
    assert sorted(check_env(toys.Toy())) == sorted([*COMMON, "final observation"])


def test_a_good_legacy_environment_passes_every_check():
    assert sorted(check_env(LegacyEnv(toys.Toy()))) == sorted([*COMMON, "pickle"])


@pytest.mark.parametrize(
    ("broken", "rule", "words"),
    [
        (toys.Unhashable, "identity", "hashable"),
        (toys.ComparedByIdentity, "identity", "equal"),
        (toys.WrongActionCount, "spaces", "num_actions = 2, saw 3"),
        (toys.WrongDtype, "reset", "expected observation float32 [2], saw float16 [2]"),
        (toys.WrongShape, "reset", "expected observation float32 [2], saw float32 [1]"),
        (toys.FloatTime, "reset", "state.time int32"),
        (toys.IntegerReward, "step", "expected reward float32 [], saw int32 []"),
        (toys.FourValues, "step", "saw 4"),
        (toys.DropsInfo, "step", "info as a dict"),
        (toys.NotANumber, "values", "finite observation"),
        (toys.InfiniteReward, "values", "finite reward"),
        (toys.OutsideTheBox, "values", "observations inside Box"),
        (toys.KeyIgnored, "keys", "other keys to give another episode"),
        (toys.OnlyRawKeys, "reset", "saw TypeError"),
        (toys.OtherWithoutJit, "jit", "[2] = 1"),
        (toys.TimeLimitTerminates, "time limit", "terminated to be the same"),
        (toys.OneStepLate, "time limit", "over = False after step 5"),
        (toys.TimeStandsStill, "time limit", "1 instead of 0"),
        (toys.FinalObservationAfterReset, "final observation", "without a time limit"),
        (toys.StaticLimit, "params", "among the leaves, saw a static field"),
        (toys.CoupledBatch, "vmap", "each of a batch like one alone"),
        (toys.BusyObeys, "busy", "ignore its action"),
    ],
)
def test_a_broken_native_environment_fails_with_one_line_that_names_the_rule(broken, rule, words):
    with pytest.raises(ContractError) as caught:
        check_env(broken(), steps=32)
    line = str(caught.value)
    assert line.startswith(f"{rule}: expected ")
    assert words in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("broken", "rule", "words"),
    [
        (LegacyEnv(toys.Unpicklable()), "pickle", "cannot pickle"),
        (LegacyEnv(toys.OneStepLate()), "time limit", "over = False after step 5"),
        (LegacyStepAPIWrapper(toys.Toy()), "identity", "RecursionError"),
    ],
)
def test_a_broken_legacy_environment_fails(broken, rule, words):
    with pytest.raises(ContractError, match=f"^{rule}: .*{words}"):
        check_env(broken, steps=32)


def test_a_breach_is_an_error_of_offjax_and_a_failed_assertion():
    assert issubclass(ContractError, OffjaxError)
    assert issubclass(ContractError, AssertionError)


def test_too_few_steps_to_see_two_episodes_are_refused():
    with pytest.raises(ConfigError, match="steps: 10 is not allowed; a whole number from 11"):
        check_env(toys.Toy(), steps=10)
