"""A service's loafer.toml, as far as `loafer-kit dev` needs it."""

from pathlib import Path

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.local.development import Project
from loafer_kit.local.queues import LocalQueue
from loafer_kit.scaffold.sources import documents
from loafer_kit.scaffold.spec import validation
from loafer_kit.scaffold.spec.specs import QueueSpec


def read_project(path: Path) -> Project:
    """Return the project whose folder or loafer.toml is at `path`."""
    file = (
        path
        if path.suffix in documents.SPEC_SUFFIXES and not path.is_dir()
        else path / "loafer.toml"
    )
    if not file.exists():
        raise ConfigurationError(
            f"There is no {file if path.exists() else path}: go to a service's folder or name it, "
            "`loafer-kit dev PATH`; `loafer-kit new service` writes one"
        )
    spec = validation.service(documents.read(file))
    return Project(spec.package, file.parent, [_local_queue(queue) for queue in spec.queues])


def _local_queue(queue: QueueSpec) -> LocalQueue:
    visibility_timeout = queue.options.get("visibility_timeout")
    return LocalQueue(
        queue.queue_name,
        topic=queue.topic,
        dead_letter_queue=queue.dead_letter_queue,
        max_receive_count=queue.max_receive_count or 5,
        visibility_timeout=None if visibility_timeout is None else int(visibility_timeout),
    )
