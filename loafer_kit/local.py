"""The embedded SQS and SNS server, for work on one machine."""
