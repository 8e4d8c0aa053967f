"""Adds queues, handlers and extensions to an existing project, and takes them out again.

Code is inserted into edited files without changing any other byte. What a template renders anew,
and where files are written, belongs to `scaffold/project`.
"""
