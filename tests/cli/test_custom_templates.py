"""`--template`: projects made of custom templates, and kept up with them."""

import json
import os
import subprocess
import time
import zipfile
from pathlib import Path

import programs
import pytest
from installed_packages import install
from kept_projects import content, loafer_kit, replace
from scaffold.custom_templates import PROJECT, commit, git, load, write
from terminals import Person

from loafer_kit.scaffold.project import locks
from loafer_kit.scaffold.rendering import templates

pytestmark = pytest.mark.slow

VARIABLES = {
    "project_name": "My Thing",
    "slug": "{{ cookiecutter.project_name|lower }}",
    "license": ["MIT", "BSD"],
}
README = "# {{ cookiecutter.project_name }}\n\none\n\ntwo\n\n{{ cookiecutter.license }}\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder of a user, with a plain cookiecutter template in it."""
    folder = tmp_path / "here"
    write(folder / "theirs", {"README.md": README, "run.sh": "#!/bin/sh\n"}, VARIABLES)
    (folder / "theirs" / PROJECT / "run.sh").chmod(0o755)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def ours(here):
    """Our service template as somebody's own, with a change, in a repository at v1."""
    folder = here / "acme"
    subprocess.run(["cp", "-r", templates.locate("service"), folder], check=True)  # noqa: S607
    for cache in folder.rglob("__pycache__"):
        subprocess.run(["rm", "-r", cache], check=True)  # noqa: S607
    file = folder / "{{cookiecutter.package}}/Dockerfile"
    file.write_text("# Of Acme.\n" + file.read_text())
    commit(folder)
    git(folder, "tag", "v1")
    return folder


def new(*arguments, name="foobar", queue="orders"):
    return loafer_kit("new", "service", name, "--queue", queue, "--trust", *arguments)


def update(*arguments):
    return loafer_kit("update", "--trust", *arguments)


def shown(origin, hooks="none", extensions="none", revision=None):
    """What is shown before anything of a template runs."""
    rows = {"origin": origin, "revision": revision, "hooks": hooks, "extensions": extensions}
    lines = [f"  {key:<10}  {value}\n" for key, value in rows.items() if value]
    return "the template is code that runs with your rights:\n" + "".join(lines)


def test_a_plain_cookiecutter_template_works_as_it_is(here):
    """Its own variables, the folder that it names, and the modes of its files."""
    done = new("--template", "theirs", "--set", "license=BSD", "--set", "slug=other")

    assert (done.code, done.error) == (0, shown("./theirs"))
    assert set(content(here / "other")) == {"README.md", "run.sh", locks.PATH}
    assert (here / "other/README.md").read_text() == "# foobar\n\none\n\ntwo\n\nBSD\n"
    assert os.access(here / "other/run.sh", os.X_OK)
    assert not os.access(here / "other/README.md", os.X_OK)
    assert done.output.endswith("\nNext: cd other\n")


def test_the_lock_says_what_a_project_was_made_from(here, ours):
    """The place as seen from the project, the revision, the answers and the digest."""
    new("--template", "theirs", "--output-dir", "deep/er")
    lock = locks.find(Path("deep/er/foobar"))

    assert lock.template.origin.reference == "../../../theirs"
    assert lock.template.answers == {"slug": "foobar", "license": "MIT"}
    assert lock.template.digest == load("theirs").digest
    assert lock.spec == {
        "name": "foobar",
        "queues": [{"name": "orders", "handler": "handle_orders", "handler_timeout": 60}],
    }

    new("--template", ours, "--checkout", "v1", name="shop")
    origin = locks.find(Path("shop")).template.origin
    assert (origin.reference, origin.checkout) == (f"git+{ours}", "v1")
    assert len(origin.commit) == 40


def test_a_template_made_of_ours_keeps_every_command(here, ours):
    """The service is checked, extended, updated and taken back as one of ours."""
    assert new("--template", "acme").code == 0
    assert Path("foobar/Dockerfile").read_text().startswith("# Of Acme.\n")
    assert loafer_kit("check", "foobar").code == 0
    assert update("foobar", "--check").code == 0
    assert loafer_kit("add", "queue", "refunds", "--path", "foobar", "--trust").code == 0
    assert "handle_refunds" in Path("foobar/foobar/handlers.py").read_text()
    assert loafer_kit("check", "foobar").code == 0
    assert update("foobar", "--check").code == 0
    assert loafer_kit("destroy", "foobar", "--trust").code == 0
    assert update("foobar", "--check").code == 0
    assert loafer_kit("destroy", "foobar").code == 0
    assert not Path("foobar").exists()


def test_a_service_of_a_custom_template_is_written_as_one_of_ours(here, ours):
    """But for the change in the template and the lock."""
    assert new("--template", "acme").code == 0
    assert (
        loafer_kit("new", "service", "foobar", "--queue", "orders", "--output-dir", "own").code == 0
    )

    made, own = content(here / "foobar"), content(here / "own/foobar")
    own["Dockerfile"] = b"# Of Acme.\n" + own["Dockerfile"]
    assert made.pop(locks.PATH) != own.pop(locks.PATH)
    assert made == own


def test_a_zip_makes_the_same_project(here, ours):
    """As its folder does, but for the lock."""
    with zipfile.ZipFile("acme.zip", "w") as archive:
        for path in (ours, *ours.rglob("*")):
            if ".git" not in path.parts:
                archive.write(path, path.relative_to(here))
    assert new("--template", "acme").code == 0
    assert new("--template", "acme.zip", "--output-dir", "zip").code == 0

    made, zipped = content(here / "foobar"), content(here / "zip/foobar")
    made.pop(locks.PATH)
    zipped.pop(locks.PATH)
    assert made == zipped


def test_an_update_takes_a_template_s_change_in(here):
    """Into edited files, with the answers that were given."""
    new("--template", "theirs", "--set", "license=BSD")
    readme = here / "foobar/README.md"
    replace(readme, "two", "two, mine")
    replace(here / "theirs" / PROJECT / "README.md", "one", "one, theirs")
    (here / "theirs" / PROJECT / "new.sh").write_text("#!/bin/sh\n")
    (here / "theirs" / PROJECT / "new.sh").chmod(0o755)

    assert update("foobar", "--check").code == 1
    done = update("foobar")

    assert done.code == 0, done.error
    assert readme.read_text() == "# foobar\n\none, theirs\n\ntwo, mine\n\nBSD\n"
    assert os.access(here / "foobar/new.sh", os.X_OK)
    assert update("foobar", "--check").code == 0


def test_an_update_may_answer_anew_or_go_to_another_revision(here, ours):
    """What was answered once is otherwise kept."""
    new("--template", "theirs")
    assert update("foobar", "--set", "license=BSD").code == 0
    assert Path("foobar/README.md").read_text().endswith("BSD\n")
    assert update("foobar").code == 0
    assert Path("foobar/README.md").read_text().endswith("BSD\n")

    new("--template", "acme", "--checkout", "v1", name="shop")
    replace(ours / "{{cookiecutter.package}}/Dockerfile", "# Of Acme.", "# Of Acme, 2.")
    commit(ours)
    git(ours, "tag", "v2")
    assert update("shop", "--check").code == 0
    assert update("shop", "--checkout", "v2").code == 0
    assert Path("shop/Dockerfile").read_text().startswith("# Of Acme, 2.\n")
    assert locks.find(Path("shop")).template.origin.checkout == "v2"


def test_a_template_that_has_moved_is_named_in_the_lock(here):
    """The error says where; whoever does that goes on as before."""
    new("--template", "theirs")
    (here / "theirs").rename(here / "moved")

    done = update("foobar")

    assert done.code == 1
    assert done.error == (
        "there is no foobar/../theirs, the template of this project: write its new place into "
        "foobar/.loafer-kit/lock.json, as the `reference` of its origin"
    )
    replace(here / "foobar" / locks.PATH, '"../theirs"', '"../moved"')
    assert update("foobar", "--check").code == 0


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("git+./theirs", "it is not a git repository: a plain folder is named without git+"),
        (
            "service",
            "'service' is built in: use `loafer-kit new service` without --template",
        ),
        ("nosuch", "nor an installed template: no package adds one"),
    ],
)
def test_what_names_no_template_is_said_in_one_line(here, template, message):
    """With what would name one."""
    done = new("--template", template)

    assert done.code == 1
    assert message in done.error
    assert "\n" not in done.error


def test_a_project_is_found_from_another_folder(here, monkeypatch):
    """The template's place is seen from the project, whoever asks from where."""
    new("--template", "theirs")
    monkeypatch.chdir(here / "foobar")

    assert update("--check").code == 0
    assert loafer_kit("check").code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--template", "nowhere"], "'nowhere' is neither a folder, a zip file, a URL nor an inst"),
        (
            ["--template", "./nowhere"],
            "nowhere: there is neither such a folder nor such a zip file",
        ),
        (["--template", "theirs", "--set", "licence=MIT"], "did you mean 'license'?"),
        (["--template", "theirs", "--directory", "x"], "has no folder 'x'"),
        (["--template", "theirs.zip", "--checkout", "v1"], "has no revisions"),
        (["--template", "theirs", "--checkout", "v1"], "it is not a git repository"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(here, arguments, message):
    """It says what to do."""
    (here / "theirs.zip").write_bytes(b"")
    before = content(here)

    done = new(*arguments)

    assert done.code == 1
    assert message in done.error
    assert content(here) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["--set", "a=b"],
        ["--trust"],
        ["--checkout", "v1"],
        ["--directory", "x"],
        ["--template", "theirs", "--set", "license"],
        ["--template", "theirs", "--set", "=x"],
        ["--template", "theirs", "--set", "license=MIT", "--set", "license=BSD"],
    ],
)
def test_wrong_usage_says_so(here, arguments):
    """With the exit code of wrong usage."""
    done = new(*arguments)

    assert done.code == 2
    assert "for a custom template" in done.error or "--set" in done.error


def test_a_template_for_services_makes_no_extension(here, ours):
    """The error says what it is for."""
    done = loafer_kit("new", "extension", "redis", "--template", "acme", "--trust")

    assert (done.code, done.error) == (1, "./acme is a template for `loafer-kit new service`")


def test_an_extension_can_be_made_of_a_custom_template(here):
    """And is kept up with it."""
    subprocess.run(["cp", "-r", templates.locate("extension"), "mine"], check=True)  # noqa: S607
    replace(here / "mine/{{cookiecutter.name|prose}}/CHANGELOG.md", "# Changelog", "# Changes")

    assert loafer_kit("new", "extension", "redis", "--template", "mine", "--trust").code == 0
    assert Path("loafer-kit-redis/CHANGELOG.md").read_text().startswith("# Changes\n")
    assert update("loafer-kit-redis", "--check").code == 0


# Trust


@pytest.fixture
def hooked(here):
    """A template with a hook."""
    (here / "theirs/hooks").mkdir()
    (here / "theirs/hooks/post_gen_project.py").write_text("open('made', 'w').write('by it')\n")
    return here


def test_without_trust_nothing_of_a_template_runs(hooked):
    """Where there is nobody to ask; it is not even fetched."""
    before = content(hooked)
    new_service = ("new", "service", "foobar", "--queue", "a", "--template")
    for template in ("theirs", "git+./theirs", "https://example.invalid/x.git", "gh:user/x"):
        done = loafer_kit(*new_service, template)
        assert done.code == 1
        assert done.error.endswith(
            "is not a template of loafer-kit: its code runs only with --trust"
        )
    assert content(hooked) == before


def test_trust_shows_what_runs_and_runs_it(hooked):
    """What hooks print is on standard error, and JSON stays JSON."""
    with (hooked / "theirs/hooks/post_gen_project.py").open("a") as hook:
        hook.write("print('hello')\n")
    done = programs.run("-m", "loafer_kit", *NEW, "--trust", "--json")

    assert done.returncode == 0
    assert done.stderr == shown("./theirs", hooks="hooks/post_gen_project.py") + "hello\n"
    assert "made" in [change["path"] for change in json.loads(done.stdout)["changes"]]
    assert (hooked / "foobar/made").read_text() == "by it"


def test_what_was_trusted_once_is_not_trusted_for_ever(hooked):
    """Whoever wrote the lock may be somebody else: each command asks for consent anew."""
    new("--template", "theirs")
    before = content(hooked / "foobar")
    for command in (["update", "foobar"], ["update", "foobar", "--check"]):
        done = loafer_kit(*command)
        assert done.code == 1
        assert "its code runs only with --trust" in done.error
    assert content(hooked / "foobar") == before

    assert update("foobar").code == 0
    assert content(hooked / "foobar") == before


def test_what_a_project_cannot_hold_is_said(hooked):
    """In a note, for people and for machines; an update says it again."""
    hook = "import os, subprocess; subprocess.run(['git', 'init', '-q']); os.symlink('/', 'root')"
    (hooked / "theirs/hooks/post_gen_project.py").write_text(hook)
    notes = [
        "root, a link that leads out of its folder",
        ".git, which belongs to git; --git begins a repository",
    ]

    done = new("--template", "theirs", "--json")
    assert json.loads(done.output)["notes"] == notes
    for said in (done.error, update("foobar").error):
        assert said.endswith("".join(f"left out: {note}\n" for note in notes))
    assert set(content(hooked / "foobar")) == {"README.md", "run.sh", locks.PATH}


def test_a_hook_that_fails_is_one_line_and_nothing_is_written(hooked):
    """In a folder that exists as well."""
    new("--template", "theirs")
    (hooked / "theirs/hooks/post_gen_project.py").write_text("open('b', 'w'); raise SystemExit(3)")
    before = content(hooked)

    message = "theirs: post_gen_project: Hook script failed (exit status: 3): nothing was written"
    for done in (new("--template", "theirs", name="other"), update("foobar")):
        assert done.code == 1
        assert done.error.endswith(message)
    assert content(hooked) == before


NEW = ["new", "service", "foobar", "--queue", "a", "--template", "theirs"]


def answer_questions(person):
    person.answer("slug", "\n")
    person.answer("Choose from", "1\n")


def test_on_a_terminal_consent_is_asked_for(hooked):
    """After what would run was shown; no is the default, and then nothing is written."""
    with Person(*NEW) as person:
        person.wait_for("hooks/post_gen_project.py")
        person.answer("Let it run?", "\n")
        person.wait_for("it may not run: nothing was written")
        assert person.leave() == 1
    assert not (hooked / "foobar").exists()

    with Person(*NEW) as person:
        person.answer("Let it run?", "y\n")
        answer_questions(person)
        assert person.leave() == 0
    assert (hooked / "foobar/made").exists()

    with Person("update", "foobar", "--check") as person:
        person.answer("Let it run?", "y\n")
        assert person.leave() == 0


def test_on_a_terminal_variables_are_asked_for_until_they_can_be(here):
    """Those that were set are not; with `--trust` there is no other question."""
    with Person(*NEW, "--set", "slug=x", "--trust") as person:
        person.wait_for("[1/1]")
        person.answer("Choose from", "3\n")
        person.answer("Choose from", "2\n")
        assert person.leave() == 0, person.shown
    assert (here / "x/README.md").read_text().endswith("BSD\n")


@pytest.mark.parametrize("key", ["\x03", "\x04"])
def test_ctrl_c_and_ctrl_d_at_a_question_end_it_all(here, key):
    """As at any other question."""
    with Person(*NEW, "--trust") as person:
        person.wait_for("slug")
        person.wait_for(":")
        while person.process.poll() is None:
            person.type(key)
            time.sleep(0.3)
        assert person.leave() != 0
        assert "error:" not in person.shown
    assert not (here / "foobar").exists()


def test_the_template_s_words_are_shown_without_harm(here):
    """Nothing in them moves the cursor before somebody has consented."""
    variables = {**VARIABLES, "_extensions": ["evil\x1b[1A\x1b[2K"]}
    write(here / "theirs", {}, variables)

    with Person(*NEW) as person:
        person.wait_for(r"evil\x1b[1A\x1b[2K")
        person.answer("Let it run?", "n\n")
        assert person.leave() == 1


# Templates for any project


def test_a_template_for_no_service_needs_no_queue(here):
    """Nor a name: its own variables make the project. `check` and `add` say what they cannot do."""
    done = loafer_kit("new", "service", "--template", "theirs", "--trust")
    assert (done.code, done.error) == (0, shown("./theirs"))
    assert Path("my thing/README.md").read_text().startswith("# My Thing\n")

    new_named = ("new", "service", "foobar", "--template", "theirs", "--trust")
    assert loafer_kit(*new_named).code == 0
    assert locks.find(Path("foobar")).spec == {"name": "foobar"}

    for folder in ("my thing", "foobar"):
        assert update(folder, "--check").code == 0
        done = loafer_kit("check", folder)
        assert done.output == (
            "no conflict is left; ../theirs is not a template for services: "
            "there is no spec to compare with the code\n"
        )
        for what in ("queue", "handler", "route"):
            done = loafer_kit("add", what, "x", "--path", folder, "--trust")
            assert done.code == 1
            assert done.error == (
                f"There is no {folder}/loafer.toml: ../theirs is not a template for services, "
                "so `add` has no spec to add to"
            )
    replace(here / "theirs" / PROJECT / "README.md", "one", "one, theirs")
    assert update("foobar").code == 0
    assert "one, theirs" in Path("foobar/README.md").read_text()
    assert loafer_kit("destroy", "foobar").code == 0
    assert not Path("foobar").exists()
    assert loafer_kit(*new_named, "--save-spec", "x.toml").code == 2


def test_on_a_terminal_a_template_for_no_service_asks_its_own_questions(here):
    """And no others."""
    with Person("new", "service", "--template", "theirs", "--trust") as person:
        person.answer("project_name", "Other\n")
        answer_questions(person)
        assert person.leave() == 0
        assert "Queue" not in person.shown
    assert Path("other/README.md").read_text().startswith("# Other\n")


# A lock from somebody else


@pytest.mark.parametrize(
    ("origin", "message"),
    [
        ({"reference": "git+ext::sh -c 'touch ran'"}, "a template is fetched by https, ssh or"),
        ({"reference": "git+-oX"}, "a template is fetched by https, ssh or"),
        (
            {"reference": "git+https://x", "checkout": "--upload-pack=touch ran"},
            "neither a revision",
        ),
        ({"reference": "../theirs", "directory": "../.."}, "leads out of the template"),
        ({"reference": "../nowhere"}, "there is no foobar/../nowhere"),
        ({"reference": 1}, "is damaged"),
        ({"reference": "../theirs", "evil": "x"}, "is damaged"),
        ({}, "is damaged"),
    ],
)
def test_a_hostile_lock_runs_and_writes_nothing(here, origin, message):
    """Whatever it says of where its template is."""
    new("--template", "theirs")
    file = here / "foobar" / locks.PATH
    values = json.loads(file.read_text())
    values["template"]["origin"] = origin
    file.write_text(json.dumps(values))
    before = content(here)

    done = update("foobar")

    assert done.code == 1
    assert message in done.error
    assert content(here) == before


def test_hostile_answers_in_a_lock_are_values_and_nothing_else(here):
    """Literal, checked, and of the kind that the variable has."""
    new("--template", "theirs")
    file = here / "foobar" / locks.PATH
    values = json.loads(file.read_text())
    for answers, message in (
        ({"slug": "../x"}, "cannot be a project's folder"),
        ({"license": "{{ 7*7 }}"}, "is none of MIT, BSD"),
        ({"slug": {"a": 1}}, "must be a text"),
        ({"more": "x"}, "has no variable 'more'"),
    ):
        values["template"]["answers"] = answers
        file.write_text(json.dumps(values))
        done = update("foobar")
        assert done.code == 1
        assert message in done.error


# Installed templates and sources


def test_installed_templates_and_sources_are_listed_and_used(here, tmp_path, monkeypatch):
    """By their names; one that cannot be used is a warning with its name, and hides no other."""
    site = tmp_path / "site"
    theirs = write(site / "acme_templates/service", {"a": "{{ cookiecutter.slug }}"}, {"slug": "x"})
    write(site / "acme_templates/tagged", {"a": "x"}, {"slug": "x", "_loafer_kit": "extension"})
    (theirs / "__init__.py").write_text("")
    install(
        site,
        monkeypatch,
        "acme-templates",
        {
            "templates": {
                "acme": "acme_templates.service",
                "acme-path": "acme_templates:FOLDER",
                "acme-tagged": "acme_templates:tagged",
                "broken": "acme_templates:nothing",
                "gone": "acme_templates:GONE",
                "raising": "acme_templates:raising",
                "no-package": "acme_templates.nothing",
            },
            "sources": {
                "catalog": "acme_templates:catalog",
                "draft": "acme_templates:draft",
                "number": "acme_templates:number",
                "missing": "acme_templates:missing",
            },
        },
        {
            "acme_templates/__init__.py": (
                "from pathlib import Path\n"
                "from loafer_kit.scaffold.spec.specs import Draft\n"
                "FOLDER = str(Path(__file__).parent / 'service')\n"
                "GONE = '/nowhere'\n"
                "def tagged(): return Path(__file__).parent / 'tagged'\n"
                "def raising(): raise OSError('no disk')\n"
                "def catalog(value): return {'name': value, 'queues': [{'name': value + '-in'}]}\n"
                "def draft(value): return Draft({'name': 'x', 'queues': [{'name': 1}]}, value, lambda path: 7)\n"
                "def number(value): return 1\n"
            )
        },
    )

    done = loafer_kit("templates")
    assert done.code == 0
    assert done.output.splitlines()[:3] == [
        f"new service                           loafer-kit 0.1.0    {templates.locate('service')}",
        f"new extension                         loafer-kit 0.1.0    {templates.locate('extension')}",
        f"new service --template acme           acme-templates 2.1  {theirs}",
    ]
    assert "new extension --template acme-tagged  acme-templates 2.1  " in done.output
    assert "new service --source catalog=…        acme-templates 2.1  " in done.output
    for name in ("broken", "gone", "raising", "no-package", "missing"):
        assert f"'{name}' of the package acme-templates cannot be used: " in done.error
        assert name not in done.output
    listed = json.loads(loafer_kit("templates", "--json").output)
    assert {"name": "acme", "use": "new service --template acme"}.items() <= listed["installed"][
        2
    ].items()
    assert len(listed["warnings"]) == 5

    for name in ("acme", "acme-path"):
        assert new("--template", name, "--set", f"slug={name}").code == 0
        assert Path(name, "a").read_text() == name
    assert locks.find(Path("acme-path")).template.origin.reference == "acme-path"
    assert update("acme-path", "--check").code == 0
    assert "did you mean 'acme'?" in new("--template", "acmee").error
    assert "no disk" in new("--template", "raising").error

    assert loafer_kit("new", "service", "--source", "catalog=shop").code == 0
    assert 'name = "shop-in"' in Path("shop/loafer.toml").read_text()
    assert (
        "must be a text, not 1 (line 7)"
        in loafer_kit("new", "service", "--source", "draft=x").error
    )
    for source, code, message in (
        ("number=x", 1, "it returned a int; expected a mapping"),
        ("catalog", 2, "--source takes NAME=VALUE, not 'catalog'"),
        ("katalog=x", 1, "'katalog' is not an installed source; did you mean 'catalog'?"),
    ):
        done = loafer_kit("new", "service", "--source", source)
        assert done.code == code
        assert message in done.error


def test_a_name_that_two_packages_have_is_nobody_s(here, tmp_path, monkeypatch):
    """Which of them is meant nobody can say."""
    for number in (1, 2):
        entries = {"templates": {"acme": f"acme{number}"}}
        modules = {f"acme{number}/__init__.py": ""}
        install(tmp_path / f"site{number}", monkeypatch, f"acme-{number}", entries, modules)

    done = new("--template", "acme")

    assert (done.code, done.error) == (1, "'acme' is added by acme-1 and acme-2: uninstall one")


def test_an_error_of_a_source_names_its_package(here, tmp_path, monkeypatch):
    """It is no error of ours, and its traceback says whose it is."""
    install(
        tmp_path / "site",
        monkeypatch,
        "acme",
        {"sources": {"bad": "acme_source:read"}},
        {"acme_source.py": "def read(value): return 1 / 0"},
    )

    with pytest.raises(ZeroDivisionError) as caught:
        loafer_kit("new", "service", "--source", "bad=x")
    assert caught.value.__notes__ == ["This is an error of the source 'bad' of the package acme."]
