"""How commands talk with a shell and with a person: options, prompts, output, completion.

What a command does stands in its own module, one folder up.
"""
