"""The page about custom templates: what it tells to type works."""

import re
import shutil
from pathlib import Path

import pytest
from kept_projects import loafer_kit, replace
from scaffold.custom_templates import commit, git, write

from loafer_kit.scaffold.rendering import templates

PAGE = (Path(__file__).parents[2] / "docs/how-to/use-your-own-template.md").read_text()


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with the templates that the page speaks of."""
    acme = tmp_path / "acme"
    shutil.copytree(templates.locate("service"), acme, ignore=shutil.ignore_patterns("__pycache__"))
    commit(acme)
    git(acme, "tag", "v1")
    replace(acme / "{{cookiecutter.package}}/README.md", "## Run", "## Running")
    commit(acme)
    git(acme, "tag", "v2")
    variables = {"project_name": "x", "license": ["MIT", "BSD"]}
    for name in ("plain", "hooked"):
        write(tmp_path / name, {"LICENSE": "{{ cookiecutter.license }}"}, variables)
        (tmp_path / name / "{{cookiecutter.slug}}").rename(
            tmp_path / name / "{{cookiecutter.project_name}}"
        )
    (tmp_path / "hooked/hooks").mkdir()
    (tmp_path / "hooked/hooks/post_gen_project.py").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_of_the_page_work(here):
    """In order."""
    commands = re.findall(r"^\$ loafer-kit (.*)$", PAGE, re.MULTILINE)
    assert len(commands) == 6
    for command in commands:
        done = loafer_kit(*command.split())
        assert done.code == 0, done.error
    assert "## Running" in (here / "barfoo/README.md").read_text()
    assert (here / "other/LICENSE").read_text() == "MIT"


def test_the_page_shows_what_consent_is_asked_for(here):
    """Word for word."""
    done = loafer_kit("new", "service", "x", "--template", "./hooked", "--trust")

    assert done.code == 0
    assert done.error in PAGE
