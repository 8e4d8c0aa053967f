"""Settings for every test."""

import functools
import os

import pytest
from hypothesis import settings

settings.register_profile("default", deadline=None, max_examples=50)
settings.register_profile("fast", deadline=None, max_examples=5)
settings.register_profile("soak", deadline=None, max_examples=5_000)
settings.load_profile("default")


@pytest.fixture(scope="session", autouse=True)
def _botocore_data_is_parsed_once():
    """Keep botocore's parsed data files: each new session parses a megabyte of JSON again."""
    from botocore.loaders import JSONFileLoader

    load_file = functools.cache(JSONFileLoader().load_file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JSONFileLoader, "load_file", staticmethod(load_file))
        yield


@pytest.fixture(scope="session", autouse=True)
def _mypy_results_are_shared(tmp_path_factory):
    """Let all runs of mypy, in all workers, share what it finds out about installed packages."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MYPY_CACHE_DIR", str(folder / "mypy"))
        yield
