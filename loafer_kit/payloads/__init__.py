"""Typed handlers: message content as the type that a handler names. It knows no queue."""
