"""Dead letters for a person: what `loafer-kit dlq` and the console do, on SQS and on RabbitMQ.

Functions print nothing and ask nobody. How a service sends dead letters is in `ext`.
"""
