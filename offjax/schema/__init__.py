"""What leaves the process: the bundle's manifest and its writer."""
