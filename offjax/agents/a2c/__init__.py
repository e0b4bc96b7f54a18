"""Advantage actor-critic over rollouts, Mnih et al. 2016."""
