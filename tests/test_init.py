"""The package: what a quickstart imports from it, and at what cost."""

import subprocess
import sys

import pytest

import loafer_kit


@pytest.mark.parametrize("name", loafer_kit.__all__)
def test_quickstart_names(name):
    """Each is there, from its own module."""
    assert getattr(loafer_kit, name) is not None


def test_unknown_names_are_attribute_errors():
    """As for any module."""
    with pytest.raises(AttributeError, match="'loafer_kit' has no attribute 'nothing'"):
        _ = loafer_kit.nothing


def test_importing_the_package_imports_nothing_else():
    """Every command imports it: it must cost nothing."""
    code = "import sys, loafer_kit; print([m for m in sys.modules if m.startswith('loafer_kit.')])"
    output = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    assert output.strip() == "[]"
