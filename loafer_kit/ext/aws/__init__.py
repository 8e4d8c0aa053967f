"""Amazon SQS and SNS: routes, providers, handlers and publishers, and the requests behind them.

Not here: the engine that runs them, the local server, and any list of a service's queues.
"""
