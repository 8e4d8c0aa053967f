"""Integrations with systems outside this package: AWS, RabbitMQ, Sentry. What any service may use is in contrib."""
