"""How much memory something may take that a stranger has written."""

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loafer_kit.exceptions import ConfigurationError

_MOST = 512 * 1024 * 1024


@contextmanager
def limited() -> Iterator[None]:
    """Let the block take half a GiB more than this process has; ConfigurationError beyond that.

    The limit is the whole process's meanwhile, and that of programs it starts. Only Linux keeps it.
    """
    if sys.platform != "linux":
        yield
        return
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = pages * resource.getpagesize() + _MOST
    limits = [limit for limit in (wanted, soft) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min(limits), hard))
    try:
        yield
    except MemoryError as error:
        raise ConfigurationError("it takes more memory than a project can need") from error
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
