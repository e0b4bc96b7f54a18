"""The actor-critic with separate networks of Nieto et al. 2024."""
