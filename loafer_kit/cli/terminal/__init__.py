"""How commands talk with a shell and with a person: options, output, questions, completion.

What a command does stands in its own module, one folder up.
"""
