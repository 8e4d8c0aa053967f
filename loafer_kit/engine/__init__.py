"""The engine: runs routes. It knows no broker, no file and no command line."""
