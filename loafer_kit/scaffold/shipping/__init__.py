"""Computes the variables of the artefacts that `--with` adds to a service. It writes no files."""
