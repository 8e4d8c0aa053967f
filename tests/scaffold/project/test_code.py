"""Insertions into Python of any layout: proved, or refused."""

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loafer_kit.scaffold.project import code
from loafer_kit.scaffold.project.code import Edit, Module, UnrecognisedError, defined, mentions

ELEMENTS = ["A(1)", 'B("x,)", c=(1, 2))', "(C)", "*D", '"é#"', "lambda: 1", "E(\n        1,\n    )"]
GAPS = ["", " ", "\n    ", "\n\n\t", "  # c\n    ", "\n    # ( , \n    "]
NEW = "New(\n    1,\n)"


@st.composite
def sequences(draw):
    """A module with a tuple or a list, written as somebody might write it."""
    opening, closing = draw(st.sampled_from(["()", "[]"]))
    elements = draw(st.lists(st.sampled_from(ELEMENTS), max_size=3))
    body = ""
    for index, element in enumerate(elements):
        needs_comma = index < len(elements) - 1 or (opening == "(" and len(elements) == 1)
        body += draw(st.sampled_from(GAPS)) + element + draw(st.sampled_from(["", " ", "  # ,)\n"]))
        body += "," if needs_comma or draw(st.booleans()) else ""
    body += draw(st.sampled_from(GAPS))
    text = f"# é\nroutes = {opening}{body}{closing}  # end\nx = 1\n"
    text = text.replace("\n", draw(st.sampled_from(["\n", "\r\n"])))
    return ("\ufeff" if draw(st.booleans()) else "").encode() + text.encode()


@given(sequences())
def test_an_element_goes_to_the_end_of_any_sequence(content):
    """Comments, commas, brackets within it, line endings: all stay."""
    module = Module.parse(content)
    sequence = module.tree.body[0].value

    after = code.into_brackets(module, sequence, sequence.elts, NEW)

    left = iter(after.content)
    assert all(byte in left for byte in content)
    assert after.content.count(b"\r\n") in (0, after.content.count(b"\n"))
    elements = after.tree.body[0].value.elts
    assert ast.dump(elements[-1]) == ast.dump(ast.parse(NEW).body[0].value)
    assert len(elements) == len(sequence.elts) + 1


STATEMENTS = [
    "import asyncio\n",
    "import os; import sys\n",
    "from typing import Any\n",
    "from typing import (\n    Any,  # x\n    Zed,\n)\n",
    "from typing import (Any)\n",
    "from typing import Any, \\\n    Zed\n",
    "from shop import handlers  # h\n",
    "from . import y\n",
    '"""Doc."""\n',
    "x = 1\n",
    "\n",
    "# c\n",
    "try:\n    import q\nexcept ImportError:\n    q = None\n",
]
IMPORTS = ["from typing import Mapping", "from loafer_kit.types import ExcInfo", "import zlib"]


@given(st.lists(st.sampled_from(STATEMENTS), max_size=6), st.sampled_from(IMPORTS))
def test_an_import_goes_anywhere(statements, line):
    """What was there is still there, and the name is bound."""
    module = Module.parse("".join(statements).encode())
    source = ast.parse(line).body[0]
    name = source.names[0].name

    after = code.imported(module, source, name, "shop")

    left = iter(after.content)
    assert all(byte in left for byte in module.content)
    assert set(defined(after.tree.body)) == {*defined(module.tree.body), name}


@pytest.mark.parametrize(
    ("before", "line", "after"),
    [
        ("import os\n\nx = 1\n", "import zlib", "import os\nimport zlib\n\nx = 1\n"),
        ("import zlib\n", "import abc", "import abc\nimport zlib\n"),
        (
            "import os\n\nfrom shop import routes\n",
            "from loafer_kit.types import ExcInfo",
            "import os\n\nfrom loafer_kit.types import ExcInfo\n\nfrom shop import routes\n",
        ),
        ("from a import C, z\n", "from a import B", "from a import B, C, z\n"),
        ("from a import (\n    C,\n)\n", "from a import D", "from a import (\n    C,\n    D,\n)\n"),
        ('"""Doc."""\n\nx = 1\n', "import os", '"""Doc."""\n\nimport os\n\nx = 1\n'),
        ("from __future__ import annotations\n", "import os", None),
    ],
)
def test_imports_are_sorted_in(before, line, after):
    """As isort would sort them."""
    source = ast.parse(line).body[0]
    done = code.imported(Module.parse(before.encode()), source, source.names[0].name, "shop")

    assert done.content.decode() == (after or f"{before.rstrip()}\n\n{line}\n")


def test_a_comment_that_belongs_to_a_function_stays_with_it():
    """It is indented; one that is not comes after what is new."""
    content = b"def a():\n    return 1\n    # still a\n\n\n# b\n"

    after = code.at_end(Module.parse(content), "def c():\n    pass")

    assert after.content == (
        b"def a():\n    return 1\n    # still a\n\n\ndef c():\n    pass\n\n\n# b\n"
    )


def test_code_gets_the_tabs_of_the_file():
    """Not the spaces of the template."""
    after = code.at_end(Module.parse(b"def a():\n\treturn 1"), "def c():\n    pass")

    assert after.content == b"def a():\n\treturn 1\n\n\ndef c():\n\tpass"


def test_an_edit_that_would_change_anything_else_is_refused():
    """The proof compares the whole tree."""
    module = Module.parse(b"a = 1\n")

    with pytest.raises(UnrecognisedError, match="no place"):
        module.inserted(module.tree.body, 1, ast.parse("b = 2").body, [Edit(5, b"0\nb = 2")])


def test_a_keywords_value_is_no_mention():
    """A queue that is only a dead-letter queue is not one of the service's."""
    assert not mentions(ast.parse('Q("a", dead_letter_queue="b")'), "b")
    assert mentions(ast.parse('Q("a", dead_letter_queue="b")'), "a")
