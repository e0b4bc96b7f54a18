"""Shipped configurations and scenarios: YAML files, installed as the package ``offjax.configs``."""
