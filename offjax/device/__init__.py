"""Files copied to a board as they are: no import of offjax or jax."""
