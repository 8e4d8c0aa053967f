"""Amazon SQS and SNS."""
