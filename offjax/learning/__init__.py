"""Who learns where: transitions, and the training scan."""
