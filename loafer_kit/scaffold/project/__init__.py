"""A project on disk: its lock, history and code, updates, checks, and the writing of files.

Rendering a template belongs to `scaffold/rendering`, extending a project's code to
`scaffold/additions`, and printing and asking to `cli`.
"""
