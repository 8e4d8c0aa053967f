"""What systems outside the standard library bring: AWS, Sentry."""
