"""What a service or an extension is asked to be: keys, names, validation, JSON Schema. It reads no document and writes no file."""
