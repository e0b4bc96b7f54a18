"""Metrics, statistics, tables and report pages."""
