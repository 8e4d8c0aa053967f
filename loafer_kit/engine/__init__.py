"""The engine: fetches, starts handlers, decides, settles. Knows no broker, no command line."""
