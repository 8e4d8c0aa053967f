"""Additions to a project that exists: what is inserted leaves every other byte as it was."""
