"""Integrations with systems outside this package: AWS, Sentry. What any service may use is in contrib."""
