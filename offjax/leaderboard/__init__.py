"""The leaderboard: every agent tuned with the same budget in every setting, and the page that shows it."""
