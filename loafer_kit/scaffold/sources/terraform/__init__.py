"""Reads Terraform plans and states."""
