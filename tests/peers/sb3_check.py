"""Stable-Baselines3's own check of an id (first argument), in a process that has it: a warning is a failure."""

import sys
import warnings

import gymnasium
from stable_baselines3.common.env_checker import check_env

import offjax.envs  # noqa: F401 (registers the ids)

with warnings.catch_warnings():
    warnings.simplefilter("error")
    check_env(gymnasium.make(f"offjax/{sys.argv[1]}").unwrapped)
print("passed")
