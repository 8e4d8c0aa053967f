"""Requests to AWS: clients, transports, signatures, and what answers and failures mean.

What a queue's messages need from these requests does not belong here.
"""
