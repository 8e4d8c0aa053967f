"""Terraform plans and states as JSON. HCL is not read."""
