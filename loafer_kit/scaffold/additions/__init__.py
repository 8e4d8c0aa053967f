"""Additions of queues, handlers and extensions to an existing project.

Code is inserted into edited files without changing any other byte. What a template renders anew,
and where files are written, belongs to `scaffold/project`.
"""
