"""A project on disk: its lock, its code, additions, updates, checks, and the writing of files.

Code is inserted into edited files without changing any other byte. Rendering a template belongs to
`scaffold/rendering`, printing and asking to `cli`.
"""
