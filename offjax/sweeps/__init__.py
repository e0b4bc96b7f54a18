"""Sweeps: many agents at many settings, trained together, compared in one table."""
