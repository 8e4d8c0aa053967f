"""What ships a service: the files that `--with` adds, and what they are told about a spec."""
