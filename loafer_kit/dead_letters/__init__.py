"""Dead letters for a person: what `loafer-kit dlq` does, one module per noun.

Functions take the clients of `ext/aws/requests/clients.py` and plain data. They print nothing and ask
nobody. How a service sends dead letters is in `ext/aws/dead_letters.py`.
"""
