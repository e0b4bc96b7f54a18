"""Run folders, checkpoints, metrics and progress; they know pytrees and files, never the simulation."""
