"""What TAB offers: asked as the scripts of `--show-completion` ask, and in a real bash."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

import pytest
from installed_packages import install
from kept_projects import run
from terminals import Person

from loafer_kit.cli.terminal import completions
from loafer_kit.local.servers import ServerRecord, announce
from loafer_kit.scaffold.spec import fields

pytestmark = pytest.mark.slow

LOAFER_TOML = """
name = "shop"

[[queues]]
name = "orders"
dead_letter_queue = "orders-dead"

[[queues]]
name = "https://sqs.eu-west-1.amazonaws.com/123456789012/refunds"
handler = "give_back"
"""


@pytest.fixture(autouse=True)
def shop(tmp_path, monkeypatch):
    """A service's folder, which is the current one; `loafer-kit` is a command there."""
    for name in ("home", "tmp", "bin", "work/shop"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    command = tmp_path / "bin/loafer-kit"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m loafer_kit "$@"\n')
    command.chmod(0o755)
    folder = tmp_path / "work"
    monkeypatch.chdir(folder)
    (folder / "loafer.toml").write_text(LOAFER_TOML)
    (folder / "shop/handlers.py").write_text("async def handle_orders(message, metadata): ...\n")
    return folder


def in_a_process(*arguments, **environment):
    done = subprocess.run(
        arguments, capture_output=True, text=True, check=False, env=os.environ | environment
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def in_this_process(*arguments, **environment):
    with mock.patch.dict(os.environ, environment):
        done = run(*arguments[1:])
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def complete(line, start=in_this_process):
    """What bash is told about the last word of a line without quotes, `=` or `:`."""
    words = line.split(" ")
    answer = start(
        "loafer-kit",
        _LOAFER_KIT_COMPLETE="complete_bash",
        COMP_WORDS="\n".join(words),
        COMP_CWORD=str(len(words) - 1),
    )
    return answer.split()


def test_send_offers_the_queues_and_dead_letter_queues_of_the_service():
    """A queue that is given by its URL goes by its name."""
    assert complete("loafer-kit send ") == ["orders", "orders-dead", "refunds"]
    assert complete("loafer-kit send re") == ["refunds"]


def test_send_offers_the_queues_of_local_servers(shop):
    """From any folder; nothing is asked of the server."""
    (shop / "loafer.toml").unlink()
    with announce(ServerRecord("http://127.0.0.1:1", "other", queues=["jobs", "jobs-dead"])):
        assert complete("loafer-kit send ") == ["jobs", "jobs-dead"]


def test_dev_offers_the_queues_that_get_a_body(shop, monkeypatch):
    """Those of the folder that it was told; not the dead-letter queues."""
    monkeypatch.chdir(shop.parent)

    assert complete("loafer-kit dev work --send ") == ["orders=", "refunds="]


def test_add_handler_offers_the_handlers_that_are_not_written(shop):
    """When all are, there is nothing to offer."""
    assert complete("loafer-kit add handler ") == ["give_back"]

    (shop / "shop/handlers.py").write_text("from others import give_back, handle_orders\n")
    assert complete("loafer-kit add handler ") == []


def test_add_handler_looks_into_the_folder_that_is_named(shop, monkeypatch):
    """By `--path`, as the command itself."""
    monkeypatch.chdir(shop.parent)

    assert complete("loafer-kit add handler --path work ") == ["give_back"]
    assert complete("loafer-kit add handler ") == []


def test_add_route_offers_the_queues_of_the_service():
    """Its dead-letter queues have no route."""
    assert complete("loafer-kit add route ") == ["orders", "refunds"]


def test_templates_and_sources_are_offered_by_their_names(shop, tmp_path, monkeypatch):
    """Folders and zip files too, as a path is completed, but none that means more to a shell."""
    site = tmp_path / "site"
    entries = {"templates": {"acme": "acme_x"}, "sources": {"catalog": "acme_x:read"}}
    install(site, monkeypatch, "acme-x", entries, {"acme_x.py": "raise SystemExit('imported')"})
    for name in ("mine.zip", "x; touch ran.zip", "$(ran).zip", "x\x1b[2K.zip", "x\ny.zip"):
        (shop / name).touch()
    (shop / "mine.txt").touch()

    assert complete("loafer-kit new service --template ") == ["acme", "mine.zip", "shop"]
    assert complete("loafer-kit new service --template ./m") == ["./mine.zip"]
    assert complete(f"loafer-kit new service --template {shop}/s") == [f"{shop}/shop"]
    assert complete("loafer-kit new service --template nowhere/") == []
    assert "catalog=" in complete("loafer-kit new service --source c")


def test_with_offers_artefacts_after_a_comma_too():
    """Each once."""
    assert complete("loafer-kit new service --with c") == ["ci", "compose", "cloudformation"]
    assert complete("loafer-kit new service --with ci,com") == ["ci,compose"]
    assert complete("loafer-kit new service --with ci,c") == ["ci,compose", "ci,cloudformation"]


@pytest.mark.parametrize("command", ["new service x --queue", "add queue"])
def test_a_queues_settings_are_offered_after_a_comma(command):
    """Not the one that is there already, and nothing for the name."""
    assert complete(f"loafer-kit {command} jobs") == []
    assert complete(f"loafer-kit {command} jobs,retry") == [
        "jobs,retry_delay=",
        "jobs,retry_delay_cap=",
    ]
    offered = complete(f"loafer-kit {command} jobs,")
    assert {"jobs,kind=", "jobs,wait_time="} <= set(offered)
    assert "jobs,name=" not in offered


def test_a_setting_with_few_values_is_offered_with_them():
    """As soon as it is the only one that fits."""
    kinds = [f"a,kind={kind}" for kind in fields.KINDS]
    assert complete("loafer-kit new service --queue a,ki") == kinds
    assert complete("loafer-kit add queue a,hea") == ["a,heartbeat=true", "a,heartbeat=false"]


def test_shells_that_show_help_get_it():
    """That of the setting."""
    line = "loafer-kit new service --queue jobs,kind=sqs,wait"
    for shell in ("zsh", "fish"):
        answer = in_this_process(
            "loafer-kit",
            _LOAFER_KIT_COMPLETE=f"complete_{shell}",
            _TYPER_COMPLETE_ARGS=line,
            _TYPER_COMPLETE_FISH_ACTION="get-args",
        )
        assert "jobs,kind=sqs,wait_time=" in answer
        assert "Seconds that a receive waits for messages" in answer


@pytest.mark.parametrize(
    "arguments", ["new service --spec ", "new service --from-sam ", "send x --file ", "check "]
)
def test_files_are_left_to_the_shell(arguments):
    """It offers them where nothing is answered."""
    assert complete(f"loafer-kit {arguments}") == []


BROKEN = {
    "no TOML": "name = ",
    "no queues": 'name = "shop"\n',
    "no tables": 'name = "shop"\nqueues = [3]\n',
    "no names": 'name = "shop"\n[[queues]]\nnmae = "a"\n',
    "another type": 'name = 3\nqueues = "orders"\n',
    "names that mean something to a shell": 'name = "shop"\n[[queues]]\nname = "$(touch x);a b"\n',
    "a handler that is none": 'name = "shop"\n[[queues]]\nname = "a"\nhandler = "$(touch x)"\n',
}


@pytest.mark.parametrize("spec", BROKEN.values(), ids=BROKEN)
def test_a_broken_spec_offers_nothing_and_says_nothing(shop, spec):
    """Neither an error nor a traceback is in the way of the next key."""
    (shop / "loafer.toml").write_text(spec)

    assert complete("loafer-kit add handler ") == []
    assert complete("loafer-kit send ") in ([], ["a"])
    assert list(shop.glob("x")) == []


def test_code_that_is_no_python_offers_nothing(shop):
    """It is being written."""
    (shop / "shop/handlers.py").write_bytes(b"def handle(\n")

    assert complete("loafer-kit add handler ") == []


def test_what_a_service_prints_when_it_is_imported_is_not_offered(shop):
    """Its commands are."""
    (shop / "loud.py").write_text(
        "import sys\n"
        "from loafer_kit import LoaferManager\n"
        "from loafer_kit.cli import register_commands\n"
        "print('loud')\n"
        "print('louder', file=sys.stderr)\n"
        "def sing(): ...\n"
        "register_commands('songs', [sing])\n"
        "manager = LoaferManager([])\n"
    )
    (shop / "failing.py").write_text("print('loud')\nraise SystemExit('louder')\n")

    offered = complete("loafer-kit --app loud ", in_a_process)
    assert {"songs", "send"} <= set(offered)
    assert not {"loud", "louder"} & set(offered)
    assert complete("loafer-kit --app loud songs ", in_a_process) == ["sing"]
    assert "send" in complete("loafer-kit --app failing s", in_a_process)
    assert "send" in complete("loafer-kit --version s")


def test_only_what_is_needed_is_imported():
    """No botocore, no moto, no jinja: a person waits for it."""
    words = ["loafer-kit", "send", ""]
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "loafer_kit"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ
        | {
            "_LOAFER_KIT_COMPLETE": "complete_bash",
            "COMP_WORDS": "\n".join(words),
            "COMP_CWORD": "2",
        },
    )
    assert "orders" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    unwanted = {"aiobotocore", "asyncio", "black", "botocore", "cookiecutter", "jinja2", "moto"}
    assert not unwanted & imported


@pytest.mark.parametrize(
    ("words", "at_the_cursor", "kept"),
    [
        (["send", "o"], ["send", "o"], ""),
        (["--send", "jobs", "="], ["--send", ""], "jobs="),
        (["--send", "jobs", "=", "x"], ["--send", "x"], "jobs="),
        (["--send", "jobs", "=", ""], ["--send", "jobs=", ""], ""),
        (["--queue", "a,b", "=", "c,d"], ["--queue", "c,d"], "a,b="),
        (["--queue", "=", "a,b", "=", "c"], ["--queue", "c"], "a,b="),
        (["--queue", "="], ["--queue", ""], ""),
        (["--queue", "=", "a", "--x"], ["--queue=a", "--x"], ""),
        (["--queue", "https", ":", "//x/a,"], ["--queue", "//x/a,"], "https:"),
        (["--queue", '"a,b=c,d'], ["--queue", '"a,b=c,d'], ""),
        (["--with", "="], ["--with", ""], ""),
        (["x", "=="], [""], "x=="),
    ],
)
def test_words_that_bash_took_apart_are_put_together(words, at_the_cursor, kept):
    """All but the part at the cursor, which is the one that bash replaces."""
    environment = {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}

    assert completions.join_words(environment) == kept
    assert environment["COMP_WORDS"].split("\n") == at_the_cursor
    assert environment["COMP_CWORD"] == str(len(at_the_cursor) - 1)


TYPED = {
    "send ref\t": "send refunds ",
    "dev --send re\t": "dev --send refunds=",
    "dev --once --send=re\t": "dev --once --send=refunds=",
    "new service --queue jobs,ki\t": "new service --queue jobs,kind=",
    "new service --queue jobs,kind=sn\t": "new service --queue jobs,kind=sns ",
    "new service --queue=jobs,kind=sqs,hea\t": "new service --queue=jobs,kind=sqs,heartbeat=",
    "new service --queue https://x/1/a,heartbeat=t\t": "new service --queue https://x/1/a,heartbeat=true ",
    'new service --queue "jobs,wai\t': 'new service --queue "jobs,wait_time=',
    "new service --spec loa\t": "new service --spec loafer.toml ",
}


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_tab_in_bash(shop):
    """With the script of `--install-completion`, which only writes into the home directory."""
    assert "installed" in in_a_process(
        "loafer-kit", "--install-completion", "bash", SHELL="/bin/bash"
    )
    installed = Path(os.environ["HOME"], ".bash_completions/loafer-kit.sh")
    assert f"source '{installed}'" in Path(os.environ["HOME"], ".bashrc").read_text()
    shown = in_a_process("loafer-kit", "--show-completion", "bash")
    assert shown.strip() == installed.read_text().strip()

    with Person("-i", program=["bash", "--noprofile"], env=os.environ | {"TERM": "dumb"}) as person:
        person.type("PS1='ready> '; bind 'set bell-style none'\n")
        for typed, shown in TYPED.items():
            person.answer("\nready> ", f"loafer-kit {typed}")
            person.wait_for(f"loafer-kit {shown}")
            person.type("\x01#\n")  # Ctrl-A, and it is a comment


def test_names_have_the_values_of_their_parameters(shop, monkeypatch):
    """The default or the environment's; commands that edit the code take the fixed part."""
    text = (shop / "loafer.toml").read_text().replace('"orders', '"${STAGE}-orders')
    parameters = '\n[[parameters]]\nname = "STAGE"\ndefault = "dev"\n'
    (shop / "loafer.toml").write_text(text + parameters)

    assert complete("loafer-kit send ") == ["dev-orders", "dev-orders-dead", "refunds"]
    assert complete("loafer-kit dev --send ") == ["dev-orders=", "refunds="]
    assert complete("loafer-kit add route ") == ["orders", "refunds"]
    monkeypatch.setenv("STAGE", "prod; true")
    assert complete("loafer-kit send ") == ["refunds"]


def test_a_name_whose_parameter_has_no_value_is_not_offered(shop):
    """Nobody knows it."""
    text = (shop / "loafer.toml").read_text().replace('"orders', '"${STAGE}-orders')
    (shop / "loafer.toml").write_text(f'{text}\n[[parameters]]\nname = "STAGE"\n')

    assert complete("loafer-kit send ") == ["refunds"]
