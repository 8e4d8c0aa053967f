"""Which local servers run."""

import os
import subprocess
import sys
import tempfile

import pytest

from loafer_kit.exceptions import LoaferKitError
from loafer_kit.local.servers import ServerRecord, announce, running


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_server_is_found_as_long_as_it_is_announced():
    """The record tells where it is, and is gone afterwards."""
    record = ServerRecord("http://127.0.0.1:1", "orders", queues=["inbox"], topics=["news"])
    with announce(record):
        assert running() == [record]
    assert running() == []


def test_the_server_started_last_comes_first(temporary_folder):
    """Several services may be in development at the same time."""
    first, second = (ServerRecord(f"http://127.0.0.1:{n}", "x", pid=n) for n in (2, 1))
    with announce(first) as path, announce(second):
        os.utime(path, (0, 0))
        assert running() == [second, first]


def test_what_a_killed_process_left_is_forgotten(temporary_folder):
    """The lock tells a stale record, even when its process id lives on in another process."""
    program = f"""
import os, signal, tempfile
tempfile.tempdir = {str(temporary_folder)!r}
from loafer_kit.local.servers import ServerRecord, announce
with announce(ServerRecord("http://127.0.0.1:1", "x", pid={os.getpid()})):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    (left,) = temporary_folder.rglob("*.json")
    assert running() == []
    assert not left.exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"other": "version"}'])
def test_a_record_that_cannot_be_read_is_no_server(temporary_folder, content):
    """A record of another version, or half written, is passed over."""
    import fcntl

    assert running() == []
    (folder,) = temporary_folder.iterdir()
    with (folder / "server-1.json").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(content)
        file.flush()
        assert running() == []


def test_a_folder_that_others_may_write_to_is_not_trusted(temporary_folder):
    """Somebody else's record would send the user's messages elsewhere."""
    assert running() == []
    (folder,) = temporary_folder.iterdir()
    folder.chmod(0o777)
    with pytest.raises(LoaferKitError, match="others may write there: remove it"):
        running()
