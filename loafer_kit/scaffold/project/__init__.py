"""A project on disk: its lock, its history, and the changes written to it. It renders nothing."""
