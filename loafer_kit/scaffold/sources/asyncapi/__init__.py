"""Reads AsyncAPI documents."""
