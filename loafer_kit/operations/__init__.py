"""What an operator sees of a running service: built on events and on the engine's state, no part of it."""
