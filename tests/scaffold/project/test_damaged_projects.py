"""Locks and code that are damaged at random: what reads them ends well, or in one error."""

import base64
import json
import zlib
from contextlib import chdir, suppress
from functools import partial
from pathlib import Path

import pytest
from damage import damaged, damaged_text
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kept_projects import loafer_kit
from scaffold.custom_templates import write

from loafer_kit.cli.writing import diff
from loafer_kit.exceptions import ConfigurationError, LoaferKitError
from loafer_kit.scaffold.project import drift, extensions, locks, pieces, projects, queues, updates
from loafer_kit.scaffold.project.pieces import LeftOutError, UnplacedError
from loafer_kit.scaffold.project.plans import digest
from loafer_kit.scaffold.rendering import custom_templates
from loafer_kit.scaffold.spec import validation
from loafer_kit.scaffold.spec.specs import Draft

VARIABLES = {"slug": "other", "kind": ["a", "b"], "more": {"a": "1"}, "sure": True}
NEW = {
    "service": ["new", "service", "shop", "--queue", "orders,error_handler=e"],
    "extension": ["new", "extension", "redis", "--setting", "A=1", "--required", "URL", "--cli"],
    "own": ["new", "service", "shop", "--queue", "a", "--template", "./theirs", "--trust"],
}
trusting = partial(custom_templates.load, consent=lambda code: True)
generator_of = partial(projects.generator_of, load=trusting)


@pytest.fixture(scope="module", params=NEW)
def made(request, tmp_path_factory):
    """A project in a folder of its own, with two commands to take back where it can be added to."""
    folder = tmp_path_factory.mktemp(request.param)
    with chdir(folder):
        write(Path("theirs"), {"a": "{{ cookiecutter.more }}"}, VARIABLES, "{{cookiecutter.slug}}")
        assert loafer_kit(*NEW[request.param]).code == 0
        [lock] = folder.glob(f"*/{locks.PATH}")
        project = lock.parents[1]
        if request.param == "service":
            assert loafer_kit("add", "queue", "b", "--path", project).code == 0
    return project, json.loads(lock.read_text())


def checked(project):
    found = drift.find(project, projects.find_lock(project))
    return map(str, found)


def updated(project):
    lock = projects.find_lock(project)
    rendering = generator_of(project, lock).again(projects.draft(project, lock))
    return map(diff, updates.update(project, lock, rendering))


def destroyed(project):
    lock = projects.find_lock(project)
    return map(diff, updates.undo(project, lock, partial(generator_of, project, lock)))


def added(project):
    lock = projects.find_lock(project)
    generator = generator_of(project, lock)
    addition = queues.plan(projects.draft(project, lock), "c", generator)
    changed = pieces.changes(project, lock, addition.after, addition.apply)
    return map(diff, pieces.recorded(project, lock, changed, "add queue c", addition.apply))


@st.composite
def damaged_locks(draw, whole):
    """A lock with one of its parts damaged, or paths in it, or a file, whose hash fits nevertheless."""
    part = draw(st.sampled_from(["spec", "template", "records", "files", "paths", "content"]))
    if part == "paths":
        files = draw(damaged({path: path for path in whole["files"]}))
        return {
            **whole,
            "files": {path: whole["files"].get(str(of), of) for path, of in files.items()},
        }
    if part != "content":
        return {**whole, part: draw(damaged(whole[part]))}
    path = draw(st.sampled_from(list(whole["files"])))
    packed = base64.b64decode(whole["files"][path]["content"])
    text = draw(damaged_text(zlib.decompress(packed).decode())).encode()
    content = base64.b64encode(zlib.compress(text)).decode()
    entry = {"content": content, "sha256": digest(text)}
    return {**whole, "files": {**whole["files"], path: entry}}


@pytest.mark.slow
@given(data=st.data())
@settings(
    max_examples=max(8, settings().max_examples // 5),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
def test_a_damaged_lock_is_fine_or_an_error(made, data):
    """Whatever is checked, updated, taken back or added to."""
    project, whole = made
    (project / locks.PATH).write_text(json.dumps(data.draw(damaged_locks(whole))))

    for command in (checked, updated, destroyed, added):
        with suppress(LoaferKitError):
            list(command(project))


SPEC = {
    "name": "shop",
    "queues": [
        {"name": "orders", "error_handler": "on_error"},
        {"name": "news", "kind": "sns", "translator": "News"},
        {"name": "paid", "payload": "Paid"},
    ],
    "payloads": {"Paid": {"sku": "str"}},
}
DRAFT = Draft(SPEC, "loafer.toml")


@pytest.fixture(scope="module")
def additions():
    """The files of a service, and what adds to them, by the files that it adds to."""
    generator = projects.builtin("service")
    files = generator.again(DRAFT).plan.files
    found = [
        queues.plan(DRAFT, "b.fifo,dead_letter_queue=c.fifo,translator=B", generator),
        *(queues.plan_route(DRAFT, name, generator) for name in ("orders", "news", "paid")),
    ]
    steps = [(item.apply, path) for item in found for path in files if path.endswith(".py")]
    steps += [(item.apply, "loafer.toml") for item in found]
    apply, paths = queues.plan_handler(DRAFT, "on_x", generator)
    steps += [(apply, path) for path in paths]
    extension = extensions.plan("shop", "a.b:C")
    return files, [*steps, (extension.apply, extension.path)]


@pytest.mark.slow
@given(data=st.data())
@settings(deadline=None, suppress_health_check=list(HealthCheck))
def test_damaged_code_is_added_to_or_left_alone(additions, data):
    """And compared with the spec, as far as it can be read."""
    files, steps = additions
    apply, path = data.draw(st.sampled_from(steps))
    damaged_file = data.draw(damaged_text(files[path].decode())).encode()

    with suppress(LeftOutError, UnplacedError):
        assert isinstance(apply(path, damaged_file), bytes)
    with suppress(ConfigurationError):
        modules = drift.modules({**files, path: damaged_file}, "shop")
        found = drift.in_code(modules, validation.service(DRAFT), except_for=())
        assert "\n" not in "".join(map(str, found))
