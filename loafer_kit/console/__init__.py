"""The console: a page in a browser that shows services and their queues, and steers them.

Not here: what a page may change about a message or a process, which `dead_letters`, `operations` and
`local` do; and the command line.
"""
