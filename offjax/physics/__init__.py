"""Equations (1)-(16) of Nieto et al. 2024 as pure functions; SI units."""
