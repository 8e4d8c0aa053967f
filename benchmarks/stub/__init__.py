"""A small, fast stub of the SQS HTTP API: fast enough that the client under test is the bottleneck.

It speaks the AWS JSON 1.0 protocol for standard queues and checks no signatures. It knows nothing
of FIFO queues, delays or dead-letter queues: it exists to be measured against, and correctness is
shown on real implementations.
"""
