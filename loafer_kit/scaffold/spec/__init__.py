"""Specs of services and extensions: keys, names, validation, JSON Schema. It reads and writes no file."""
