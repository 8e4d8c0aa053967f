"""The scaffold: from a spec to a project on disk."""
