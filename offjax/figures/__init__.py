"""Figures that need trained agents: resumable jobs over a store of runs, then a drawing."""
