"""Renders a template to files in memory. It never writes into a project."""
