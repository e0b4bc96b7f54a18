"""From trained parameters to a folder that a board can run."""
