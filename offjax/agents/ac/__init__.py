"""The actor-critic of Nieto et al. 2024, with separate networks or a joint one."""
