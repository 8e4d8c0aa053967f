"""Benchmarks of loafer_kit beside its peers; `python -m benchmarks --help` lists them."""
