"""What an operator sees of a running service, and how it is steered. The engine imports none of it.

`recorder` counts what happens, `snapshot` holds it, `metrics` writes it, `health` judges it. `monitors`
shows it: by the pages of `http`, the health file, which `probe` reads, the socket of `control`, and
CloudWatch. `supervisor` runs the `crew` of a service in several processes.
"""
