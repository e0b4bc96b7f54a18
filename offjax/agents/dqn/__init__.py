"""Deep Q-learning without a memory, paper B."""
