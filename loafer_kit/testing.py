"""Help for the tests of a service: pytest fixtures and stand-ins, all of them real code."""
