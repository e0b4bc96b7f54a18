"""Task classes, mixes and arrivals."""
