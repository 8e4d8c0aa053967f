"""`loafer-kit remove queue|handler`: what `add` or `new` wrote goes, what was edited stays."""

import ast
import shutil

import pytest
from kept_projects import content, loafer_kit, replace

from loafer_kit.scaffold.project import locks


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A service with two queues, one of them typed, and a copy of it with a third."""
    folder = tmp_path_factory.mktemp("made")
    queues = ("--queue", "a", "--queue", "b,translator=Upper,error_handler=on_error")
    assert loafer_kit("new", "service", "shop", *queues, "--output-dir", folder).code == 0
    shutil.copytree(folder / "shop", folder / "wider/shop")
    assert loafer_kit("add", "queue", "c", "--path", folder / "wider/shop").code == 0
    return folder


@pytest.fixture
def shop(made, tmp_path):
    """The service with two queues."""
    return shutil.copytree(made / "shop", tmp_path / "shop")


@pytest.fixture
def wider(made, tmp_path):
    """The service with three queues."""
    return shutil.copytree(made / "wider/shop", tmp_path / "wider/shop")


def remove(project, *arguments):
    return loafer_kit("remove", *arguments, "--path", project)


def without_records(project):
    """The files, without the lock's history."""
    files = content(project)
    del files[locks.PATH]
    return files


def test_what_add_wrote_goes_whole(shop, wider):
    """Every file is as before `add`, and `destroy` brings the queue back."""
    before = without_records(wider)

    done = remove(wider, "queue", "c")

    assert done.code == 0, done.error
    assert without_records(wider) == without_records(shop)
    assert locks.find(wider).files == locks.find(shop).files
    assert loafer_kit("check", wider).code == 0
    assert loafer_kit("update", "--check", wider).code == 0
    assert loafer_kit("destroy", wider).code == 0
    assert without_records(wider) == before


def test_what_new_wrote_goes_too(shop):
    """With its translator and its error handler."""
    done = remove(shop, "queue", "b")

    assert done.code == 0, done.error
    assert not any(
        b"Upper" in text or b"on_error" in text for text in without_records(shop).values()
    )
    assert loafer_kit("check", shop).code == 0
    assert loafer_kit("update", "--check", shop).code == 0


def test_edits_around_it_stay(wider):
    """Those of other handlers, of routes, of the spec and of prose."""
    handlers, routes = wider / "shop/handlers.py", wider / "shop/routes.py"
    lines = handlers.read_text().replace("return True", "return bool(message)", 1)
    handlers.write_text(lines + "\n\ndef own() -> None:\n    pass\n")
    replace(routes, "routes = (", "# All of them.\nroutes = (")
    replace(wider / "loafer.toml", "[[queues]]", "# the first\n[[queues]]")
    (wider / "README.md").write_text("Mine.\n\n" + (wider / "README.md").read_text())

    done = remove(wider, "queue", "c")

    assert done.code == 0, done.error
    assert "left" not in done.output
    text = handlers.read_text()
    assert "handle_c" not in text
    assert "return bool(message)" in text
    assert "def own()" in text
    assert "# All of them.\n" in routes.read_text()
    assert '"c"' not in routes.read_text()
    assert "# the first" in (wider / "loafer.toml").read_text()
    assert "`c`" not in (wider / "README.md").read_text()
    assert loafer_kit("check", wider).code == 0
    assert loafer_kit("update", "--check", wider).code == 0


def test_an_edited_handler_is_left_and_listed(wider):
    """The rest goes."""
    handlers = wider / "shop/handlers.py"
    start, end = handlers.read_text().split("async def handle_c")
    handlers.write_text(f"{start}async def handle_c{end.replace('return True', 'return False')}")

    done = remove(wider, "queue", "c")

    assert done.code == 0, done.error
    assert f"keep  {handlers}  (left: handle_c was edited)" in done.output
    assert "handle_c" in handlers.read_text()
    assert "handle_c" not in (wider / "shop/routes.py").read_text()
    ast.parse(handlers.read_text())
    assert loafer_kit("check", wider).code == 0


def test_looking_changes_nothing(wider):
    """And its exit code says that there is something to do."""
    before = content(wider)

    done = remove(wider, "queue", "c", "--dry-run")

    assert done.code == 2
    assert f"remove  {wider}/tests/test_c.py" in done.output
    assert content(wider) == before


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("queue", "z"), "there is no queue 'z'"),
        (("queue", "\x1b[2K"), "there is no queue '\\x1b[2K'"),
        (("handler", "handle_c"), "the queue 'c' uses 'handle_c': `loafer-kit remove queue c`"),
    ],
)
def test_what_cannot_be_removed_is_one_line(wider, arguments, why):
    """Nothing is written."""
    before = content(wider)

    done = remove(wider, *arguments)

    assert (done.code, done.error.count("\n")) == (1, 0)
    assert why in done.error
    assert content(wider) == before


def test_the_only_queue_stays(shop):
    """A service needs one."""
    assert remove(shop, "queue", "b").code == 0

    done = remove(shop, "queue", "a")

    assert done.code == 1
    assert "'a' is the only queue, and a service needs one" in done.error


def test_a_handler_goes_with_its_test(shop):
    """As `add handler` wrote it, at whatever place."""
    before = without_records(shop)
    assert loafer_kit("add", "handler", "on_order", "--path", shop).code == 0

    done = remove(shop, "handler", "on_order")

    assert done.code == 0, done.error
    after = without_records(shop)
    assert after.keys() - before.keys() <= {"tests/test_handlers.py"}
    assert not any(b"on_order" in text for text in after.values())
    again = remove(shop, "handler", "on_order")
    assert again.output.endswith("nothing to do: handler on_order is not there\n")


def test_an_edited_handler_that_no_queue_uses_is_left_and_listed(shop):
    """Its test goes if it is as it was written."""
    assert loafer_kit("add", "handler", "on_order", "--path", shop).code == 0
    with (shop / "shop/handlers.py").open("a") as file:
        file.write("    print()\n")

    done = remove(shop, "handler", "on_order")

    assert done.code == 0, done.error
    assert "(left: on_order was edited)" in done.output
    assert "on_order" in (shop / "shop/handlers.py").read_text()


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("queue", ["a", "b", "c"])
def test_any_queue_goes_from_an_edited_service(wider, queue, end):
    """What is left parses, agrees and ends its lines as before."""
    for path in ("shop/handlers.py", "shop/routes.py", "loafer.toml"):
        text = (wider / path).read_text()
        (wider / path).write_bytes(f"# mine\n{text}".replace("\n", end).encode())

    done = remove(wider, "queue", queue)

    assert done.code == 0, done.error
    assert loafer_kit("check", wider).output == "spec, code and lock agree\n"
    for path in ("shop/handlers.py", "shop/routes.py", "loafer.toml"):
        written = (wider / path).read_bytes()
        assert written.startswith(b"# mine")
        assert written.count(b"\r\n") == (written.count(b"\n") if end == "\r\n" else 0)
