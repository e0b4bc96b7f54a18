"""What is observed and rewarded, and the numbers of each paper."""
