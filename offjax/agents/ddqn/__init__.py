"""Double deep Q-learning, van Hasselt et al. 2016."""
