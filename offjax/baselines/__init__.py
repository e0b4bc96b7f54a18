"""Policies that need no training: rules, greedy choices, the per-task oracle."""
