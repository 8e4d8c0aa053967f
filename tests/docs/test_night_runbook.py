"""The night runbook: its commands, as they are written, on a dead-letter queue that filled up."""

import re
from pathlib import Path

import pytest
from kept_projects import run

from loafer_kit.local import LocalQueue

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs/how-to/night-runbook.md"
SPEC = """
name = "shop"
[[queues]]
name = "orders"
dead_letter_queue = "orders-dead"
max_receive_count = 3
"""


def commands(section):
    """The commands of a section, in order; a command may go on in the next line."""
    text = PAGE.read_text().partition(f"## {section}\n")[2].partition("\n## ")[0]
    return [" ".join(found.split()) for found in re.findall(r"`(loafer-kit [^`]+)`", text)]


@pytest.fixture
def shop(local_server, local_queues, tmp_path, monkeypatch):
    """A service's folder, and three of its letters: two of them for one reason."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loafer.toml").write_text(SPEC)
    local_queues.create(LocalQueue("orders", dead_letter_queue="orders-dead", max_receive_count=3))
    local_server.polls.release(["orders-dead"])  # an empty queue answers at once
    for body, reason in (("1", "KeyError: 'id'"), ("2", "KeyError: 'id'"), ("3", "ValueError: no")):
        added = {"DeadLetterReason": reason, "DeadLetterSourceQueue": "orders"}
        local_queues.send("orders-dead", body, attributes=added)
    yield local_queues
    local_server.polls.hold(["orders-dead"])


def follow(command, *more):
    done = run(*command.split()[1:], *more)
    assert done.returncode == 0, done.stderr
    return done


def bodies(queues, queue):
    found = queues.receive(queue)
    queues.delete_messages(queue, found)
    return sorted(message["Body"] for message in found)


def test_a_dead_letter_queue_that_fills_up(shop):
    """Read the reasons, try one letter, send the others back: each step as the page has it."""
    listing, show, replay, move = commands("The dead-letter queue fills up")

    listed = follow(listing).stdout
    assert listed.startswith("orders-dead: 3 letters")
    assert re.findall(r"^ +(\d+)  (.+)$", listed, re.MULTILINE) == [
        ("2", "KeyError: 'id'"),
        ("1", "ValueError: no"),
    ]
    assert follow(show).stdout.count("KeyError: 'id'") == 2

    assert "nothing was changed" in follow(replay).stderr
    assert shop.counts("orders-dead").visible == 3
    follow(replay, "--limit", "1", "--yes")
    assert len(bodies(shop, "orders")) == 1
    follow(replay, "--yes")
    assert len(bodies(shop, "orders")) == 2
    assert shop.counts("orders-dead").total == 0

    shop.send("orders-dead", "4", attributes={"DeadLetterSourceQueue": "orders"})
    assert "replayed instead" in follow(move, "--yes").stderr  # this server has no move tasks
    assert bodies(shop, "orders") == ["4"]


def test_a_poison_message_is_kept(shop):
    """Its letter goes to a file, and from there to the queue of a server on this machine."""
    export, _, send = commands("A poison message")
    letters = follow("loafer-kit dlq show orders-dead --json").stdout
    poison = re.search(r'"id": "([^"]+)"', letters)[1]

    follow(export.replace("FILE", "poison.jsonl").replace("ID", poison))
    follow(send.replace("FILE", "poison.jsonl"))

    (sent,) = bodies(shop, "orders")
    assert sent in ("1", "2", "3")
    assert shop.counts("orders-dead").total == 3


@pytest.mark.parametrize("section", re.findall(r"^## (.+)$", PAGE.read_text(), re.MULTILINE))
def test_each_command_of_the_page_exists(section):
    """With the options that it is written with."""
    for command in commands(section):
        words = command.split()[1:]
        name = words[:2] if words[0] == "dlq" else words[:1]
        done = run(*name, "--help")
        assert done.returncode == 0, command
        assert all(word in done.stdout for word in words if word.startswith("--")), command
