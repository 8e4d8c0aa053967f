"""What ships a service tells the scaffold what the service is."""

import pytest

from loafer_kit.scaffold.sources import cloudformation
from loafer_kit.scaffold.spec import validation

QUEUES = [
    {"name": "orders", "dead_letter_queue": "dead", "visibility_timeout": 60},
    {"name": "bills", "dead_letter_queue": "dead", "max_receive_count": 3},
    {"name": "news.fifo", "topic": "paper.fifo", "dead_letter_queue": "dead.fifo"},
    {"name": "prices", "topic": "prices"},
]


@pytest.mark.parametrize("artefact", ["cloudformation", "sam"])
def test_a_template_gives_the_queues_that_it_was_made_of(ship, spec_of, tmp_path, artefact):
    """Read back as a source, it says the same of every queue."""
    path = f"deploy/{artefact}.yaml"
    (tmp_path / "template.yaml").write_text(ship(artefact, queues=QUEUES)[path])

    draft = cloudformation.read(tmp_path / "template.yaml")

    queues = {"name": "foobar", "queues": draft.values["queues"]}
    found = validation.service(type(draft)(queues))
    assert found.queues == spec_of(*QUEUES).queues
