"""Reads specs from flags, questions, documents and AWS. It decides nothing about files."""
