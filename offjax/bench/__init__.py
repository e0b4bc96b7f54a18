"""What the simulator can be held against: closed forms, and its parts run alone."""
