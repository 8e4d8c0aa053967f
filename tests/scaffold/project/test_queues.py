"""Additions to services: what they change, and above all what they do not."""

import ast
import json
import re
import tomllib
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.project import pieces, projects, queues
from loafer_kit.scaffold.spec.specs import Draft, SpecError

SPEC = {"name": "shop", "queues": [{"name": "orders"}]}
CODE = ["shop/handlers.py", "shop/routes.py", "loafer.toml"]
TESTS = ["tests/test_handlers.py", "tests/test_routes.py", "tests/test_service.py"]


def rendered(values):
    return projects.builtin("service").again(Draft(values)).plan.files


def draft(files):
    return Draft(tomllib.loads(files["loafer.toml"].decode("utf-8-sig")), "loafer.toml")


def added(files, text):
    """The project's files after `add queue`."""
    addition = planned(json.dumps(draft(files).values), text)
    paths = addition.after
    changed = {path: addition.apply(path, files.get(path)) for path in paths}
    return {**files, **{path: after for path, after in changed.items() if after is not None}}


@cache
def planned(values, text):
    """Rendering takes longest: many examples have one spec."""
    return queues.plan(Draft(json.loads(values), "loafer.toml"), text, projects.builtin("service"))


def is_only_inserted(before, after):
    """Whether every line of the one stands in the other, but for what was put into it."""
    kept = iter(re.split(rb"(\W)", after))
    return all(any(word == other for other in kept) for word in re.split(rb"(\W)", before))


def test_an_untouched_service_becomes_what_new_makes_of_both_queues():
    """The generated text that counts queues is renewed as well."""
    files = added(rendered(SPEC), "refunds.fifo,dead_letter_queue=dead.fifo")

    queue = {"name": "refunds.fifo", "dead_letter_queue": "dead.fifo"}
    both = rendered({**SPEC, "queues": [*SPEC["queues"], queue]})
    assert without_tests(files) == without_tests(both)
    assert b"LocalQueue(" in files["tests/test_refunds_fifo.py"]


def test_an_untouched_service_keeps_its_line_ends_and_marks():
    """However it was checked out, its text becomes what `new` makes of both queues."""
    mark = b"\xef\xbb\xbf"
    files = {path: mark + windows(file) for path, file in rendered(SPEC).items()}

    both = rendered({**SPEC, "queues": [*SPEC["queues"], {"name": "refunds"}]})
    assert without_tests(added(files, "refunds")) == {
        path: mark + windows(file) for path, file in without_tests(both).items()
    }


def without_tests(files):
    return {path: file for path, file in files.items() if not path.startswith("tests/")}


@pytest.mark.parametrize("edit", [b"", b"# mine\n", b"def broken(:"])
def test_a_queue_has_its_tests_in_a_file_of_its_own(edit):
    """The other tests stay as they are, edited or not."""
    before = rendered(SPEC)
    edited = before | {path: before[path] + edit for path in TESTS}

    after = added(edited, "refunds,topic=money,error_handler=oops")

    own = after.pop("tests/test_refunds.py")
    assert all(after[path] == edited[path] for path in TESTS)
    assert after.keys() == before.keys()
    for name in ("handle_refunds_accepts_a_message", "oops_leaves_the_message"):
        assert f"def test_{name}(".encode() in own
    assert b'LocalQueue("refunds", topic="money")' in own


def test_the_tests_of_a_payload_s_queue_send_a_message_that_does_not_fit():
    """The handler does not get it: it arrives in the dead-letter queue."""
    values = {**SPEC, "payloads": {"Refund": {"id": "int"}}}
    files = rendered(SPEC) | {"loafer.toml": rendered(values)["loafer.toml"]}

    own = added(files, "refunds,payload=Refund,dead_letter_queue=dead")["tests/test_refunds.py"]

    assert b"def test_handle_refunds_gets_no_misfit(" in own
    assert b'counts("dead").total == 1' in own


def test_a_queue_of_a_kind_brings_the_import_of_its_envelopes():
    """An edited module keeps every line; the handler of S3 gets a list."""
    files = {path: file + b"\n# mine\n" for path, file in rendered(SPEC).items()}

    after = added(files, "uploads,kind=s3,topic=buckets")

    routes, handlers = (after[f"shop/{name}.py"].decode() for name in ("routes", "handlers"))
    assert "from loafer_kit.ext.aws.envelopes import EnvelopeTranslator, s3, sns\n" in routes
    assert "message_translator=EnvelopeTranslator(sns, s3)" in routes
    assert "handle_uploads(\n    message: list[dict[str, Any]]," in handlers
    assert all(is_only_inserted(files[path], after[path]) for path in CODE)


TYPED = {
    "name": "shop",
    "queues": [
        {"name": "orders", "kind": "eventbridge", "by": "detail-type", "types": {"order.paid": {}}},
        {"name": "bills"},
    ],
}


def with_type(files, name, handler=None, queue="orders"):
    """The project's files after `add handler --for`."""
    addition = queues.plan_type(draft(files), name, queue, handler, projects.builtin("service"))
    changed = {path: addition.apply(path, files.get(path)) for path in addition.after}
    return {**files, **{path: after for path, after in changed.items() if after is not None}}


def test_an_untouched_service_becomes_what_new_makes_of_the_type():
    """The lock's files are made the same way, so an update has nothing to do."""
    queue = TYPED["queues"][0]
    wider = {**queue, "types": {**queue["types"], "Order placed": {}}}

    after = with_type(rendered(TYPED), "Order placed")

    assert after == rendered({**TYPED, "queues": [wider, TYPED["queues"][1]]})


@pytest.mark.parametrize("edit", [b"\n# mine\n", b"\r\n# mine\r\n"])
def test_an_edited_service_gets_the_handler_of_a_type(edit):
    """Each file keeps every line; the spec, the route, the handler and its test have the type."""
    files = {path: file + edit for path, file in rendered(TYPED).items()}

    after = with_type(files, "order.sent", "send_it")

    assert all(is_only_inserted(files[path], after[path]) for path in CODE)
    assert b'"order.sent" = { handler = "send_it" }' in after["loafer.toml"]
    assert b'"order.sent": handlers.send_it' in after["shop/routes.py"]
    assert b"async def send_it(" in after["shop/handlers.py"]
    assert b"def test_send_it_accepts_a_message(" in after["tests/test_handlers.py"]
    assert with_type(after, "order.sent") == after


def test_types_that_are_written_as_json_are_told_with_what_they_lack():
    """They are no rows that another one can follow."""
    queue = '[[queues]]\nname = "orders"\nby = "type"\ntypes = \'{"paid": {}}\'\n'
    files = {**rendered(TYPED), "loafer.toml": f'name = "shop"\n{queue}'.encode()}

    with pytest.raises(pieces.UnplacedError, match="are not rows of") as caught:
        with_type(files, "sent")
    assert 'sent = { handler = "handle_sent" }' in caught.value.snippet


@pytest.mark.parametrize(
    ("name", "handler", "queue", "message"),
    [
        ("a", None, "bills", "the queue 'bills' has no types"),
        ("a", None, "bils", "there is no queue 'bils'; did you mean 'bills'"),
        ("order.paid", "other", "orders", "handle_order_paid handles the type 'order.paid'"),
        ("a", "handle_bills", "orders", "handle_bills is already the handler"),
        ("a`b", None, "orders", "does not match"),
    ],
)
def test_a_type_that_cannot_be_added_is_told(name, handler, queue, message):
    """Nothing is planned."""
    with pytest.raises((ConfigurationError, SpecError), match=re.escape(message)):
        with_type(rendered(TYPED), name, handler, queue)


@pytest.mark.parametrize(
    ("path", "old", "new", "why"),
    [
        ("shop/routes.py", b"by_type(", b"chosen(", "the route of orders has no by_type("),
        ("loafer.toml", b"[queues.types]\n", b"[queues.types.a]\n", "are not rows of"),
    ],
)
def test_types_that_are_not_recognised_are_told_with_what_they_lack(path, old, new, why):
    """The person inserts it."""
    files = {**rendered(TYPED), path: rendered(TYPED)[path].replace(old, new)}
    addition = queues.plan_type(
        Draft(TYPED, "loafer.toml"), "x", "orders", None, projects.builtin("service")
    )

    with pytest.raises(pieces.UnplacedError, match=re.escape(why)) as caught:
        addition.apply(path, files[path])
    assert "handle_x" in caught.value.snippet


def test_an_edited_module_of_handlers_gets_the_logger_that_a_new_handler_uses():
    """An earlier release of the template wrote none."""
    files = dict(rendered(SPEC))
    path = "shop/handlers.py"
    logger = b"\nlogger = logging.getLogger(__name__)\n"
    files[path] = files[path].replace(b"import logging\n", b"").replace(logger, b"") + b"X = 1\n"

    code = added(files, "refunds")[path]

    assert code.count(b"import logging\n") == 1
    assert code.count(logger) == 1
    assert code.index(b"import logging\n") < code.index(logger) < code.index(b"\n\nasync def")


@pytest.mark.parametrize("name", ["handlers", "service"])
def test_a_queue_whose_file_would_be_another_s_is_tested_beside_the_others(name):
    """`tests/test_service.py` is there already."""
    after = added(rendered(SPEC), name)

    both = rendered({**SPEC, "queues": [*SPEC["queues"], {"name": name}]})
    assert after == both


def windows(content):
    return content.replace(b"\n", b"\r\n")


@pytest.mark.parametrize(
    "queue",
    [
        "refunds",
        "refunds.fifo,dead_letter_queue=dead.fifo,visibility_timeout=40",
        "refunds,topic=money,error_handler=oops,translator=Coins",
        "refunds,translator=none",
    ],
)
def test_an_edited_service_gets_the_same_code(queue):
    """What its files then say is what the template says, but for the edit."""
    before = rendered(SPEC)
    edited = before | {path: before[path] + b"# mine\n" for path in CODE}

    after = added(edited, queue)

    whole = added(before, queue)
    for path in CODE:
        assert is_only_inserted(edited[path], after[path])
        assert b"# mine\n" in after[path]
        if path.endswith(".py"):
            assert definitions(after[path]) == definitions(whole[path])
    assert tomllib.loads(after["loafer.toml"].decode()) == tomllib.loads(
        whole["loafer.toml"].decode()
    )


def definitions(content):
    """A module's tree with its statements and imported names in one order."""
    return sorted(ast.dump(item) for item in ast.parse(content).body)


def test_a_payload_brings_its_model_and_imports():
    """A model of loafer.toml that no code has yet is written where it belongs."""
    values = {**SPEC, "payloads": {"Refund": {"id": "int"}}}
    files = rendered(SPEC)
    files["loafer.toml"] = files["loafer.toml"] + b'\n[payloads.Refund]\nid = "int"\n'
    files["shop/handlers.py"] += b"# mine\n"
    assert draft(files).values["payloads"] == values["payloads"]

    after = added(files, "refunds,payload=Refund")

    assert b"class Refund:" in after["shop/payloads.py"]
    assert b"from shop import payloads" in after["shop/handlers.py"]
    assert b"message: payloads.Refund" in after["shop/handlers.py"]


STYLES = {
    "a list": (b"routes = (", b"routes = [", b"\n)", b"\n]"),
    "no trailing comma": (b"),\n)", b")\n)", b"", b""),
    "comments": (b"),\n)", b"),  # last\n    # end\n)  # done", b"", b""),
    "a name with parentheses": (b"\nroutes", b"\nfirst = None\nroutes", b"", b""),
    "an annotation": (b"routes = ", b"routes: tuple[object, ...] = ", b"", b""),
    "another first route": (b"routes = (", b"routes = (\n    (OTHER),", b"", b""),
    "no newline at the end": (b"\n)\n", b"\n)", b"", b""),
}
TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=9
)


@st.composite
def edits(draw):
    """What somebody's editor may make of our files, with the same meaning."""
    style = draw(st.sampled_from([None, *STYLES]))
    comment = draw(TEXT)
    newline = draw(st.sampled_from([b"\n", b"\r\n"]))
    bom, tabs, ended = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())

    def edit(path, content):
        if path == "shop/routes.py" and style:
            old, new, also, then = STYLES[style]
            content = content.replace(old, new, 1)
            content = content.replace(also, then) if also else content
        if tabs and path.endswith(".py"):
            content = re.sub(rb"(?m)^(    )+", lambda found: b"\t" * (len(found[0]) // 4), content)
        content = content.rstrip(b"\n") + f"  # {comment}\n".encode()
        content = content if ended else content.rstrip(b"\n")
        content = content.replace(b"\n", newline)
        return b"\xef\xbb\xbf" + content if bom else content

    return edit


@pytest.mark.slow
@given(edits(), st.sampled_from(["refunds", "refunds,topic=money,wait_time=3,error_handler=oops"]))
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_insertions_leave_every_other_byte_as_it_was(edit, queue):
    """Whatever the line endings, the marks, the comments; and a second time changes nothing."""
    files = rendered({**SPEC, "queues": [{"name": "orders"}, {"name": "returns"}]})
    files |= {path: edit(path, files[path]) for path in CODE}

    after = added(files, queue)

    for path in CODE:
        assert is_only_inserted(files[path], after[path])
        assert (b"\r\n" in files[path]) == (b"\r\n" in after[path])
        assert after[path].count(b"\r\n") in (0, after[path].count(b"\n"))
        if path.endswith(".py"):
            ast.parse(after[path])
            assert b"refunds" in after[path]
    assert [item["name"] for item in draft(after).values["queues"]] == [
        "orders",
        "returns",
        "refunds",
    ]
    assert added(after, queue) == after


def test_what_was_pasted_by_hand_is_not_added_again():
    """Each file is asked what it lacks."""
    files = rendered(SPEC)
    files["shop/handlers.py"] += b"\n\ndef handle_refunds(message, metadata):\n    return True\n"

    after = added(files, "refunds")

    assert after["shop/handlers.py"] == files["shop/handlers.py"]
    assert b'SQSRoute("refunds"' in after["shop/routes.py"]


def test_a_queue_that_its_settings_know_is_completed():
    """The code that was removed, or never written, is added; the settings stay."""
    whole = added(rendered(SPEC), "refunds")
    files = whole | {"shop/routes.py": rendered(SPEC)["shop/routes.py"]}

    assert added(files, "refunds") == whole


def test_a_dead_letter_queue_can_get_a_handler():
    """That another queue names it does not make it one of the service's."""
    files = rendered({"name": "shop", "queues": [{"name": "orders", "dead_letter_queue": "dead"}]})
    files |= {path: files[path] + b"# mine\n" for path in CODE}

    after = added(files, "dead")

    assert (
        b'SQSRoute("dead", handler=handlers.handle_dead, handler_timeout=60)'
        in after["shop/routes.py"]
    )
    assert b'local_queues.counts("dead")' in after["tests/test_dead.py"]


def test_other_settings_of_a_known_queue_are_refused():
    """They are changed in loafer.toml, and carried over by an update."""
    with pytest.raises(ConfigurationError, match="'orders' is there already with other settings"):
        queues.plan(
            draft(rendered(SPEC)), "orders,visibility_timeout=3", projects.builtin("service")
        )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a b", "'a b': name: 'a b' cannot name a queue"),
        ("new,color=red", "'new,color=red': color: is not a known key"),
        ("orders,index=1", "'orders,index=1': index: is not a known key"),
        ("orders,draft=x", "'orders,draft=x': draft: is not a known key"),
        ("new,fifo", "'new,fifo': 'fifo' must have the form key=value"),
        ("new,handler=handle_orders", "handler: handle_orders is already the handler of queues"),
    ],
)
def test_a_problem_of_what_was_typed_is_told_as_one(text, message):
    """Not as one of a line of loafer.toml."""
    with pytest.raises(SpecError, match=re.escape(message)) as raised:
        queues.plan(draft(rendered(SPEC)), text, projects.builtin("service"))

    assert "line" not in str(raised.value)


def test_a_deleted_test_stays_deleted_and_deleted_code_is_asked_for():
    """Nothing comes back that somebody took away."""
    files = rendered(SPEC)
    del files["tests/test_handlers.py"], files["README.md"]
    after = added(files, "refunds")
    assert {"tests/test_handlers.py", "README.md"}.isdisjoint(after)

    del files["shop/handlers.py"]
    with pytest.raises(pieces.UnplacedError, match="async def handle_refunds"):
        added(files, "refunds")


@pytest.mark.parametrize(
    "code",
    [
        b"routes = make_routes()\n",
        b"routes = (A, B) + more\n",
        b"routes = (A), (B)\n",
        b"routes = ()\nroutes = []\n",
        b"def routes(:\n",
        b"# coding: latin-1\nroutes = ['\xe9']\n",
        b"",
    ],
)
def test_code_that_is_not_recognised_is_told_with_what_it_lacks(code):
    """It is never guessed at."""
    files = rendered(SPEC) | {"shop/routes.py": code}

    with pytest.raises(pieces.UnplacedError) as raised:
        added(files, "refunds")

    assert raised.value.path == "shop/routes.py"
    assert raised.value.snippet == (
        'SQSRoute("refunds", handler=handlers.handle_refunds, handler_timeout=60)'
    )


def test_inline_queues_are_not_recognised():
    """TOML lets no table join an array that is written in one piece."""
    files = rendered(SPEC)
    files["loafer.toml"] = b'name = "shop"\nqueues = [{ name = "orders" }]\n'

    with pytest.raises(pieces.UnplacedError, match=r"\[\[queues\]\]"):
        added(files, "refunds")


def test_a_queue_goes_before_the_comment_of_the_table_behind_it():
    """A comment belongs to what follows it."""
    files = rendered(SPEC)
    files["loafer.toml"] += b'\n# Money.\n[payloads.Refund]\nid = "int"\n'

    after = added(files, "refunds")["loafer.toml"]

    assert after.endswith(b'handler_timeout = 60\n\n# Money.\n[payloads.Refund]\nid = "int"\n')


def test_a_queue_with_a_parameter_is_added_once_to_an_edited_service():
    """Its route has its handler, since the code computes its name."""
    values = {**SPEC, "parameters": [{"name": "STAGE", "default": "dev"}]}
    files = dict(rendered(values))
    files["shop/routes.py"] += b"# mine\n"

    after = added(files, "${STAGE}-refunds")

    route = b'f"{parameters.STAGE}-refunds"'
    assert after["shop/routes.py"].count(route) == 1
    assert b"from shop import handlers, parameters\n" in after["shop/routes.py"]
    assert added(after, "${STAGE}-refunds") == after
