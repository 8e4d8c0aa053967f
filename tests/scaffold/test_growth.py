"""Templates that make much of little: they end in one line, long before the memory does."""

import pytest
from scaffold.own_templates import rendered, write

from loafer_kit.exceptions import ConfigurationError

LOOP = "{% set ns = namespace(x='\"') %}{% for _ in range(60) %}STEP{% endfor %}"


@pytest.mark.parametrize(
    "text",
    [
        "{{ 'a' * 2000000000 }}",
        "{{ 2000000000 * 'a' }}",
        "{{ ['a'] * 2000000000 }}",
        "{{ 10 ** 100000000 }}",
        "{{ 'a'.ljust(10**9) }}",
        "{{ ('\\t' * 1000).expandtabs(10**9) }}",
        "{{ (1).to_bytes(10**9, 'big') }}",
        "{{ 'a'|center(10**9) }}",
        "{{ 'a'|center(width=10**9) }}",
        "{{ 'a\\na'|indent(10**9) }}",
        "{{ 1|round(10**9, 'ceil') }}",
        "{{ [1]|batch(10**9, 'x')|list|length }}",
        "{{ [1]|slice(10**9)|list|length }}",
        "{{ ['a']|map('center', 10**9)|join }}",
        "{{ '{:>1000000000}'.format(1) }}",
        "{{ '{:>{}}'.format(1, 10**9) }}",
        "{{ '{a:>{b}}'.format_map({'a': 1, 'b': 10**9}) }}",
        "{{ ('{0}' * 100000).format('a' * 100000) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%.1000000000f' % 1 }}",
        "{{ '%*d' % (10**9, 1) }}",
        "{{ '%1000000000d'.encode() % 1 }}",
        "{{ '%(a)999999999d'|format(a=1) }}",
        "{{ ('a' * 1000000).replace('a', 'b' * 1000000) }}",
        "{{ ('a' * 1000000)|replace('a', 'b' * 1000000) }}",
        "{{ 'a' * 1000 * 1000 * 1000 }}",
        "{{ range(100000)|join('b' * 1000000) }}",
        "{{ ('b' * 1000000).join(range(100000)|map('string')) }}",
        "{{ lipsum(10**9) }}",
        "{{ random_ascii_string(10**9) }}",
        LOOP.replace("STEP", "{% set ns.x = ns.x ~ ns.x %}"),
        LOOP.replace("STEP", "{% set ns.x = ns.x + ns.x %}"),
        LOOP.replace("STEP", "{% set ns.x = [ns.x, ns.x]|join %}"),
        LOOP.replace("STEP", "{% set ns.x = ns.x|tojson %}"),
        LOOP.replace("STEP", "{% set x %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = x %}"),
        "{% macro m(x) %}{{ x }}{{ x }}{% endmacro %}"
        + LOOP.replace("STEP", "{% set ns.x = m(ns.x) %}"),
        LOOP.replace("'\"'", "7").replace("STEP", "{% set ns.x = ns.x * ns.x %}"),
    ],
)
def test_what_fills_the_memory_is_refused(tmp_path, text):
    """Before it is made, or when there is more than a project can have."""
    with pytest.raises(ConfigurationError, match="makes more text than a project") as caught:
        rendered(write(tmp_path, {"a": text}))
    assert ": a:1: SecurityError: " in str(caught.value)


def test_what_is_written_again_and_again_is_refused(tmp_path):
    """While it is written, not when it is there."""
    loops = "{% for _ in range(99999) %}" * 2 + "a" * 100 + "{% endfor %}" * 2

    with pytest.raises(ConfigurationError, match="makes more text than a project"):
        rendered(write(tmp_path, {"a": loops}))


def test_many_files_count_together(tmp_path):
    """Each of them is small enough."""
    files = {str(number): "{{ 'a' * 20000000 }}" for number in range(20)}

    with pytest.raises(ConfigurationError, match="makes more text than a project"):
        rendered(write(tmp_path, files))


@pytest.mark.parametrize(
    ("text", "made"),
    [
        (
            "{{ 'ab' * 3 }}{{ 3 * [1] }}{{ 2 ** 10 }}{{ 2 ** -1 }}{{ 1.5 * 2 }}",
            "ababab[1, 1, 1]10240.53.0",
        ),
        ("{{ 5 % 3 }}{{ '%d %s' % (5000000000, 'a') }}{{ '%%' % () }}", "25000000000 a%"),
        ("{{ '%s-%s'|format('a', 5000000000) }}{{ '%(a)s'|format(a=1) }}", "a-50000000001"),
        ("{{ '{:,}'.format(5000000000) }}{{ '{a}'.format(a='b') }}", "5,000,000,000b"),
        ("{{ '{:>5}'.format(1) }}{{ '{a}'.format_map({'a': 'b'}) }}", "    1b"),
        ("{{ 5000000000|round(2) }}{{ 1.25|round(1, 'floor') }}", "50000000001.2"),
        ("{{ [1, 'a']|join(', ') }}{{ (1, 2)|map('string')|join }}", "1, a12"),
        ("{{ ', '.join(['a', 'b']|map('upper')) }}{{ 'a' ~ 1 ~ 'b' }}", "A, Ba1b"),
        ("{{ nothing|default('x') }}{{ []|first|default('y') }}", "xy"),
        ("{{ 'a'|center(5) }}{{ 'a\nb'|indent(2) }}{{ 'aa'|replace('a', 'b') }}", "  a  a\n  bbb"),
        ("{{ [1, 2, 3]|batch(2)|map('list')|list }}", "[[1, 2], [3]]"),
        ("{{ 5|replace(5, 6) }}{{ 'a.b'.split('.') }}{{ 'abc'[1:] }}", "6['a', 'b']bc"),
        ("{% set x = '<' %}{% autoescape true %}{{ x ~ '>'|safe }}{% endautoescape %}", "&lt;>"),
    ],
)
def test_whatever_else_a_template_does_comes_out_as_ever(tmp_path, text, made):
    """Numbers may be large, and lists lazy."""
    assert rendered(write(tmp_path, {"a": text})) == {"a": made}
