"""The model package at work: write it, verify it, open it, predict with it in process."""
