"""Custom templates for tests: written as files, loaded as a user names them."""

import json
import os
import subprocess
from pathlib import Path

from loafer_kit.scaffold.rendering import custom_templates, templates

SPEC = {"name": "foobar", "package": "foobar", "queues": []}
VARIABLES = {"project_name": "My Thing", "slug": "{{ cookiecutter.project_name|lower }}"}
PROJECT = "{{cookiecutter.slug}}"


def write(folder, files, variables=VARIABLES, project=PROJECT):
    """A template in a folder: its variables, and the files of its project's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cookiecutter.json").write_text(json.dumps(variables))
    (folder / project).mkdir(exist_ok=True)
    for path, content in files.items():
        place = folder / project / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def load(reference, checkout=None, directory=None, consent=lambda code: True):
    """A template as a user names it, who lets it run."""
    origin = templates.named(str(reference), checkout, directory)
    return custom_templates.load(origin, Path(), consent)


def render(template, context=SPEC, answers=None, **keywords):
    """What a template makes, a path or one that was loaded."""
    if isinstance(template, (str, Path)):
        template = load(template)
    return template.render(context, answers or {}, **keywords)


def rendered(template, context=SPEC, answers=None, **keywords):
    """The same, as every file's text by its path."""
    made = render(template, context, answers, **keywords)
    return {path: content.decode() for path, content in made.plan.files.items()}


def hooked(folder, **hooks):
    """A template with hooks: `post_gen_project_py="…"`."""
    template = write(folder, {"a": "a", "b": "b"})
    (template / "hooks").mkdir()
    for name, text in hooks.items():
        stem, _, suffix = name.rpartition("_")
        (template / f"hooks/{stem}.{suffix}").write_text(text)
    return template


def git(folder, *arguments, content=""):
    """What git prints, run as nobody in particular, with nobody's configuration."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "A",
        "GIT_AUTHOR_EMAIL": "a@example.org",
        "GIT_COMMITTER_NAME": "A",
        "GIT_COMMITTER_EMAIL": "a@example.org",
    }
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env=environment,
        input=content,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def commit(folder, message="x"):
    """Everything in a folder as a commit of its repository, which is begun where there is none."""
    if not (folder / ".git").exists():
        git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", message)
