"""A problem that ends for a device whose battery is empty, as nieto2024 never does."""

from dataclasses import fields

from offjax.problems import nieto2024
from offjax.problems.fleet import Profile
from offjax.world import remaining

WEAK = Profile("weak", share=0.4, battery=40.0)  # J, a few tasks at home
STRONG = Profile("strong", share=0.6)


class Mortal(nieto2024.Nieto2024):
    def terminated(self, state):
        return remaining(state.device, self.params) <= 0


def make(**arguments):
    problem = nieto2024.make(**arguments)
    return Mortal(**{field.name: getattr(problem, field.name) for field in fields(problem)})


def weak_device(horizon):
    """One device that seldom lives to the horizon."""
    return make(devices=1, fleet=(Profile("weak", battery=40.0),), horizon=horizon)


def mixed_fleet(horizon):
    """Five devices, the weak ones among them."""
    return make(devices=5, fleet=(WEAK, STRONG), horizon=horizon)
