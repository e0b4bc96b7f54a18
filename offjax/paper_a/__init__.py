"""The experiments on paper A: jobs that are done once and kept, and the figures and claims made of their results."""
