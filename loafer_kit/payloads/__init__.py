"""Typed handlers: validates message content as the type a handler names. Knows no queue."""
