"""The process that serves one model: verified, warmed up, replayed, and only then ready."""
