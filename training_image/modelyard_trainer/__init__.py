"""The process that runs a training: serves its progress, runs the script beside it, tells how it ended."""
