"""A project on disk: its lock, updates, checks, and the writing of files.

Rendering a template belongs to `scaffold/rendering`, inserting code to `scaffold/additions`, and
printing and asking to `cli`.
"""
