"""Writes projects, from a source to files on disk. A running service imports nothing from here."""
