"""Experiences and the memory that holds them."""
