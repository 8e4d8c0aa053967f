"""PATH[:APP]: what it finds, and the one line that says why it finds nothing."""

import pytest

from loafer_kit.cli.run import ServiceNotFound, load_service

ONE = """
from loafer_kit import Application
app = Application("one")
"""

TWO = """
from loafer_kit import Application, LoaferManager
first = Application("first")
second = LoaferManager([], name="second")
"""

UNSET = """
from loafer_kit import Extension, LoaferManager
class Mail(Extension):
    REQUIRED_SETTINGS = ("MAIL_HOST",)
Mail(LoaferManager([]))
"""

FACTORY = """
from loafer_kit import Application
def make(): return Application("made")
def make_from(name): return Application(name)
def make_nothing(): return None
def make_trouble(): raise LookupError("no\\nname")
number = 5
"""


@pytest.fixture(autouse=True)
def modules(project):
    """The modules that the paths below lead to."""
    project.write("one.py", ONE)
    project.write("two.py", TWO)
    project.write("factory.py", FACTORY)
    project.write("package/deep/services.py", ONE)
    project.write(
        "package/__init__.py", "from loafer_kit import LoaferManager\nmanager = LoaferManager([])"
    )
    project.write("alias.py", "from one import app\nsame = app")
    project.write("broken_syntax.py", "\ndef f(:")
    project.write("broken_import.py", "import does_not_exist_anywhere")
    project.write("broken.py", "x = 1\n1 / 0")
    project.write("unset.py", UNSET)
    project.write("exits.py", "import sys\nsys.exit(3)")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("one", "one"),
        ("one:app", "one"),
        ("package.deep.services", "one"),
        ("package", "loafer_kit"),
        ("alias", "one"),
        ("two:second", "second"),
        ("factory:make", "made"),
    ],
)
def test_finds(path, name):
    """Modules of the current directory, dotted ones, packages, names and factories.

    One object under two names counts once.
    """
    assert load_service(path).name == name


def test_finds_the_package_in_a_projects_folder(project):
    """Where `new service` was run, as well as in the project it wrote."""
    (project.directory / "foobar/foobar").mkdir(parents=True)
    (project.directory / "foobar/foobar/__init__.py").write_text(ONE)
    assert load_service("foobar").name == "one"


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("nothing", "There is no module 'nothing' in "),
        ("package.nothing", "There is no module 'package.nothing' in "),
        ("broken_import", "Importing 'broken_import' failed at broken_import.py, line 1: ModuleNotFound"),
        ("broken_syntax", "Importing 'broken_syntax' failed: SyntaxError: "),
        ("broken", "Importing 'broken' failed at broken.py, line 2: ZeroDivisionError"),
        ("unset", "Importing 'unset' failed at unset.py, line 5: SettingError: Mail requires "),
        ("exits", "Importing 'exits' failed at exits.py, line 2: SystemExit: 3"),
        ("factory", "Module 'factory' holds neither an Application nor a LoaferManager"),
        ("two", "more than one service; choose one: two:first, two:second"),
        ("one:other", "Module 'one' has no 'other'"),
        ("two:", "Module 'two' has no ''"),
        ("factory:number", "factory:number is neither an Application nor a LoaferManager, but of type int"),
        ("factory:make_from", "factory:make_from cannot be called without arguments: missing a"),
        ("factory:make_nothing", "is neither an Application nor a LoaferManager, but None"),
        ("factory:make_trouble", "Calling factory:make_trouble failed at factory.py, line 6: LookupError: no name"),
        ("one.py", "'one.py' is a file: name the module, 'one'"),
        ("package/deep/services.py", "name the module, 'package.deep.services'"),
        ("./one", "'./one' cannot name a module"),
        ("", "'' cannot name a module"),
    ],
)  # fmt: skip
def test_refuses_in_one_line(path, says):
    """Each failure has its own sentence; none is a traceback."""
    with pytest.raises(ServiceNotFound) as caught:
        load_service(path)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
