"""Several processes under one parent: real processes, real signals, real queues of files."""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
import urllib.request
from pathlib import Path

import programs
import pytest

from loafer_kit import LoaferManager
from loafer_kit.exceptions import SettingError
from loafer_kit.operations import crew, supervisor
from loafer_kit.operations.control import ControlError, ask
from loafer_kit.operations.http import HttpFace
from loafer_kit.operations.metrics import families
from loafer_kit.operations.recorder import recorder_of
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider

SERVICE = """
import asyncio, logging, os, pathlib, signal, sys, time
from loafer_kit import LoaferManager
from loafer_kit.operations import crew, supervisor
from loafer_kit.providers import AbstractProvider
from loafer_kit.routes import Route

here = pathlib.Path(__file__).parent

class Files(AbstractProvider):
    "A queue: a file is a message; a message in hand, one that ends with .taken."
    batch_size = 5
    poll_grace = 0.5

    async def fetch_messages(self):
        await asyncio.sleep(0.02)
        taken = []
        for path in sorted(here.glob("queue/*.message"))[:5]:
            target = path.with_suffix(f".{os.getpid()}")
            try:
                path.rename(target)
            except FileNotFoundError:
                continue
            taken.append(target)
        return taken

    async def confirm_message(self, message):
        message.rename(here / "done" / message.stem)

    async def settle(self, message, outcome):
        if str(outcome) == "acknowledged" or outcome.__class__.__name__ == "Acknowledge":
            await self.confirm_message(message)
        else:
            message.rename(message.with_suffix(".message"))

async def handle(path, metadata):
    text = path.read_text()
    if text == "crash":
        path.rename(here / "done" / path.stem)
        os._exit(7)
    if text == "hang":
        path.rename(here / "done" / path.stem)
        time.sleep(600)
    if text == "grow":
        handle.memory = b"x" * 200 * 2**20
    await asyncio.sleep(0.05 if text != "slow" else 1)
    return True

defaults = supervisor.Limits
crew.STOP_MARGIN = 1
limits = dict(look_every=0.1, stalled=float(os.environ.get("STALLED", 20)), backoff=0.05, longest_backoff=0.2, stable=5, grown_up=0)
supervisor.Limits = lambda: defaults(**limits)
logging.basicConfig(level=logging.INFO, format="%(message)s")
logging.getLogger("loafer_kit.engine.deliveries").setLevel(logging.WARNING)
manager = LoaferManager([Route(Files(), handle, "files", concurrency=4)], name="foobar", grace_time=3)
if (here / "fails").exists() and "_LOAFER_PARENT" in os.environ:
    sys.exit("cannot start: " + (here / "fails").read_text())
if __name__ == "__main__":
    manager.run()
"""


class Processes:
    """A service in several processes."""

    def __init__(self, folder, count=2, **environment):
        self.folder = folder
        self.control = folder / "control"
        for name in ("queue", "done"):
            (folder / name).mkdir()
        (folder / "foobar.py").write_text(SERVICE)
        self.log = (folder / "log").open("w+")
        self.sent = 0
        self.process = programs.Program(
            *("-m", "foobar"),
            cwd=folder,
            env={
                **os.environ,
                "LOAFER_PROCESSES": str(count),
                "LOAFER_CONTROL": str(self.control),
                "LOAFER_HEALTH_FILE": str(folder / "health"),
                **environment,
            },
            stdout=self.log,
            stderr=self.log,
        )

    def send(self, *texts):
        for text in texts:
            self.sent += 1
            path = self.folder / "queue" / f"{self.sent:05}.new"
            path.write_text(text)
            path.rename(path.with_suffix(".message"))

    def expire(self, *pids):
        """Deliver again what a process had in hand when it ended, as SQS does."""
        for pid in pids:
            for path in (self.folder / "queue").glob(f"*.{pid}"):
                path.rename(path.with_suffix(".message"))

    def done(self):
        return len(list((self.folder / "done").iterdir()))

    def output(self):
        return (self.folder / "log").read_text()

    def until(self, condition, seconds=40):
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.02)
        return found

    def ask(self, action, **parameters):
        return asyncio.run(ask(self.control, action, **parameters))

    def status(self):
        with contextlib.suppress(ControlError):
            return self.ask("status")
        return {"state": "starting", "processes": []}

    def page(self, name):
        address = re.search(r"http.started address=(\S+):", self.output())[1]
        with urllib.request.urlopen(f"http://{address}/{name}") as answer:
            return answer.read().decode()

    def health(self):
        return json.loads((self.folder / "health").read_text())

    def pids(self):
        return [process["pid"] for process in self.status()["processes"]]

    def until_ready(self, count=2):
        """Return the ids of the processes, once all of them are ready."""

        def ready():
            status = self.status()
            states = [process["state"] for process in status["processes"]]
            return status["state"] == "ready" and states == ["ready"] * count and status

        return [process["pid"] for process in self.until(ready)["processes"]]

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(30)


@pytest.fixture
def family(tmp_path):
    """Make families; whatever is left of them is killed."""
    made = []

    def make(**keywords):
        made.append(Processes(tmp_path, **keywords))
        return made[-1]

    yield make
    for one in made:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(one.process.pid, signal.SIGKILL)
        one.process.wait()
        one.log.close()


def is_alive(pid):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_a_crash_and_a_hang_cost_one_process_each_and_no_message(family):
    """The others go on; the parent's faces speak for all of them, and TERM drains all of them."""
    service = family(LOAFER_HTTP="127.0.0.1:0", STALLED="3")
    first = service.until_ready()
    service.send("crash", *["x"] * 10)
    service.until(lambda: "code=7" in service.output())
    second = service.until_ready()
    service.expire(*set(first) - set(second))
    service.until(lambda: service.done() == 11)
    assert len(set(first) & set(second)) == 1
    service.send("hang", *["x"] * 10)
    service.until(lambda: "process.killed" in service.output())
    third = service.until_ready()
    assert len(set(second) & set(third)) == 1
    service.expire(*set(second) - set(third))
    service.until(lambda: service.done() == service.sent)

    expected = {"pid": service.process.pid, "state": "ready", "problems": [], "unready": []}
    service.until(lambda: expected.items() <= service.health().items())
    assert len(service.ask("recent")) > 0
    assert service.page("readyz") == "ready\n"
    assert json.loads(service.page("info"))["routes"]["files"]["concurrency"] == 8
    metrics = service.page("metrics")
    assert 'loafer_slots_total{route="files"} 8.0' in metrics
    handled = re.search(
        r'messages_handled_total\{route="files",outcome="acknowledged"\} (\d+)', metrics
    )
    assert 10 <= int(handled[1]) <= 20  # those of children that have ended count as well
    service.send("slow", "slow")
    service.until(lambda: len(service.ask("dump")) == 2)
    assert service.end() == 0
    assert service.done() == service.sent
    assert not any(map(is_alive, third))
    assert not service.control.exists()
    assert not (service.folder / "health").exists()
    output = service.output()
    assert "code=7" in output
    assert "its event loop has not run" in output
    assert output.count("service.stopping_now") == 0


def test_hup_replaces_each_process_without_losing_a_message(family):
    """The new one is ready before the old one drains; what operators have set is kept."""
    service = family()
    before = service.until_ready()
    service.ask("rate", route="files", per_second=500)
    service.ask("concurrency", route="files", value=9)
    counts, sending = [], time.monotonic()
    service.send(*["x"] * 30)
    service.process.send_signal(signal.SIGHUP)
    while set(service.pids()) & set(before):
        counts.append(sum(map(is_alive, before)) + len(set(service.pids()) - set(before)))
        service.send("x")
        assert time.monotonic() - sending < 60, service.output()
    after = service.until_ready()
    service.until(lambda: service.done() == service.sent)
    assert not set(before) & set(after)
    assert min(counts) >= 2
    [route] = service.status()["routes"]
    assert (route["rate_limit"], route["slots"]) == (1000, 18)
    service.ask("pause", route="files")
    service.ask("drain", pid=after[0])
    service.until(lambda: after[0] not in service.until_ready())
    service.send("x")
    time.sleep(0.3)
    assert service.done() == service.sent - 1
    service.ask("resume")
    service.until(lambda: service.done() == service.sent)
    (service.folder / "fails").write_text("a new mistake")
    last = service.until_ready()
    service.process.send_signal(signal.SIGHUP)
    service.until(lambda: "supervisor.roll_failed" in service.output())
    assert service.pids() == last
    assert service.end() == 0


def test_a_crash_loop_ends_with_the_message_and_the_code_of_the_child(family):
    service = family(count=1)
    (service.folder / "fails").write_text("no such queue")
    assert service.process.wait(60) == 1
    assert "cannot start: no such queue" in service.output()
    assert "supervisor.crash_loop crashes=5 code=1: 5 processes" in service.output()
    assert not service.control.exists()


def test_a_process_that_grows_is_replaced_and_finishes_what_it_has(family):
    service = family(LOAFER_MAX_RSS="250")  # a copy has what it never uses, too
    before = service.until_ready()
    service.send("grow", *["slow"] * 4)
    service.until(lambda: "process.too_large" in service.output())

    def is_replaced():
        processes = service.status()["processes"]
        assert sum(process["state"] == "ready" for process in processes) >= 2
        return len({process["pid"] for process in processes} & set(before)) == 1

    service.until(is_replaced)
    service.until(lambda: service.done() == service.sent)
    assert service.end() == 0


def test_the_number_of_processes_changes_and_a_terminal_ends_all_once(family):
    """TTIN and TTOU; Ctrl-C signals the whole group, and nobody's drain is cut short."""
    service = family(count=1)
    service.until_ready(1)
    service.process.send_signal(signal.SIGTTIN)
    service.until_ready(2)
    service.process.send_signal(signal.SIGTTOU)
    service.process.send_signal(signal.SIGTTOU)
    service.until_ready(1)
    service.process.send_signal(signal.SIGTSTP)
    service.until(lambda: service.status()["routes"][0]["paused"])
    service.process.send_signal(signal.SIGCONT)
    service.until(lambda: not service.status()["routes"][0]["paused"])
    service.send("slow")
    service.until(lambda: service.ask("dump"))
    os.killpg(service.process.pid, signal.SIGINT)
    assert service.process.wait(30) == 0
    assert service.done() == 1
    assert "stopping_now" not in service.output()


@pytest.mark.parametrize("text", ["slow", "hang"])
def test_no_child_outlives_a_parent_that_is_killed(family, text):
    """Each finishes its messages first; one whose loop is blocked ends when its time is over."""
    service = family(count=1)
    pids = service.until_ready(1)
    service.send(text)
    service.until(lambda: not list((service.folder / "queue").glob("*.message")))
    if text == "hang":
        service.until(lambda: service.done() == 1)
    service.process.kill()
    service.process.wait()
    deadline = time.monotonic() + 30
    while any(map(is_alive, pids)):
        assert time.monotonic() < deadline, service.output()
        time.sleep(0.02)
    assert service.done() == 1


def test_the_first_process_of_a_container_reaps_the_orphans_of_others(tmp_path):
    """Nobody else does, and the number of processes is limited."""
    code = """
        import os, signal, subprocess, sys, time
        from types import SimpleNamespace
        from loafer_kit.operations.crew import reap

        assert os.getpid() == 1
        own = subprocess.Popen(["true"])
        subprocess.run(["sh", "-c", "true & exec true"])  # its child outlives it
        deadline = time.monotonic() + 10
        child = SimpleNamespace(process=own)
        while own.returncode is None or len([p for p in os.listdir("/proc") if p.isdigit()]) > 1:
            reap({own.pid: child})
            assert time.monotonic() < deadline, os.listdir("/proc")
        print("reaped", own.returncode)
    """
    unshare = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine makes no process namespaces")
    done = subprocess.run(
        [*unshare, sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("reaped 0\n", "")


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", "AUTO", "9" * 5_000], ids=range(6))
def test_a_wrong_number_of_processes_is_one_line(text):
    with pytest.raises(SettingError, match=r"LOAFER_PROCESSES must be a whole number") as caught:
        supervisor.processes_of(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["0", "-1", "1G", "²"])
def test_a_wrong_limit_of_memory_is_one_line(text):
    with pytest.raises(SettingError, match="LOAFER_MAX_RSS must be a whole number of MiB, not"):
        supervisor.memory_limit(text)


@pytest.mark.parametrize(
    ("quota", "count"), [("max 100000", None), ("150000 100000", 2), ("1000 100000", 1), ("", None)]
)
def test_auto_counts_the_cores_that_the_container_may_use(tmp_path, monkeypatch, quota, count):
    """A quota of one and a half cores uses two; no quota, all."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    file = tmp_path / "cpu.max"
    file.write_text(quota)
    assert crew.cores(file) == (count or 8)
    assert crew.cores(tmp_path / "missing") == 8
    assert supervisor.processes_of("3") == 3
    assert supervisor.processes_of("auto") >= 1


def test_the_memory_of_a_process_is_known_and_that_of_none_is_zero():
    assert crew.memory_of(os.getpid()) > 2**20
    assert crew.memory_of(2**22 + 1) == 0


# What the parent decides, with children that only sleep


@pytest.fixture
def parent(monkeypatch, tmp_path):
    """A supervisor of one child, which is asked nothing."""
    started = []

    def start(environment):
        watched, lifeline = os.pipe()
        os.close(watched)
        started.append(subprocess.Popen(["sleep", "60"]))
        return started[-1], lifeline

    monkeypatch.setattr(supervisor, "start_process", start)
    monkeypatch.setattr(supervisor.Supervisor, "_begin", lambda self, work: work.close())
    manager = LoaferManager([Route(InMemoryProvider(), print)], name="foobar")
    made = supervisor.Supervisor(manager, 1, grace_time=0)
    yield made
    for process in started:
        process.kill()
        process.wait()
    for child in made._crew.children:
        os.close(child.lifeline)


def step_until(parent, condition):
    deadline = time.monotonic() + 10
    while not condition():
        parent._step()
        assert time.monotonic() < deadline
        time.sleep(0.005)


async def test_a_child_that_only_a_restart_helps_drains_while_another_starts(parent, caplog):
    parent._step()
    [child] = parent._crew.children
    child.answered, child.problems = time.monotonic(), ["threads use every slot"]
    child.unready = ["no database"]
    assert parent._crew.unready() == [f"process {child.pid}: no database"]
    assert parent._crew.problems() == [f"process {child.pid}: threads use every slot"]
    parent._step()
    step_until(parent, lambda: child not in parent._crew.children)
    assert len(parent._crew.children) == 1
    assert "process.unwell" in caplog.text
    assert parent._crashes == 0


async def test_a_child_that_does_not_end_is_killed_once(parent, caplog):
    parent._step()
    [child] = parent._crew.children
    kill = child.process.kill
    child.process.terminate = child.process.kill = lambda: None
    parent._end(child)
    child.kill_at = time.monotonic()
    for _ in range(3):  # the system takes its time
        parent._step()
    kill()
    step_until(parent, lambda: child not in parent._crew.children)
    assert caplog.text.count("process.killed") == 1
    assert "it has not ended within 30 s" in caplog.text


@pytest.mark.parametrize("answered", [True, False])
async def test_a_child_that_never_answers_or_no_longer_does_is_replaced(parent, caplog, answered):
    """An import that hangs gets more time than an event loop."""
    parent._limits = supervisor.Limits(stalled=0.01, first_answer=0.01, backoff=0)
    parent._step()
    [child] = parent._crew.children
    child.answered = time.monotonic() if answered else None
    step_until(parent, lambda: child not in parent._crew.children)
    assert caplog.text.count("process.killed") == 1
    assert ("its event loop has not run" if answered else "it has not started") in caplog.text
    step_until(parent, lambda: parent._crew.children)


async def test_a_machine_that_starts_no_process_is_asked_again(parent, caplog, monkeypatch):
    """The children that run go on."""
    parent._step()
    start = supervisor.start_process

    def refuse(environment):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(supervisor, "start_process", refuse)
    parent._crew.count = 3
    parent._step()
    parent._step()
    assert len(parent._crew.children) == 1
    assert caplog.text.count("supervisor.cannot_start: Resource temporarily unavailable") == 1
    monkeypatch.setattr(supervisor, "start_process", start)
    parent._restart_at = 0
    parent._step()
    assert len(parent._crew.children) == 3


async def test_crashes_far_apart_or_beside_a_stable_child_are_no_loop(parent):
    """Only children that keep dying young end the service."""
    parent._limits = supervisor.Limits(backoff=0, longest_backoff=0)
    parent._crew.count = 2
    parent._step()
    old, _ = parent._crew.children
    old.started -= 100
    for _ in range(7):
        parent._restart_at = 0
        young = next(child for child in parent._crew.children if child is not old)
        young.process.kill()
        step_until(parent, lambda young=young: young not in parent._crew.children)
        step_until(parent, lambda: len(parent._crew.children) == 2)
    assert not parent._stop_requests
    old.process.kill()
    step_until(parent, lambda: old not in parent._crew.children)
    assert parent._crashes == 1


async def test_the_status_counts_what_children_that_have_ended_counted(parent):
    """`top` shows neither a count nor the time of the service falling when a child is replaced."""

    async def answer(child, action, parameters):
        return child.snapshot.as_dict()

    route = Route(InMemoryProvider(), print, "a", rate_limit=50)
    manager = LoaferManager([route], name="foobar")
    manager._dispatcher_at_work = manager.dispatcher
    recorder = recorder_of(manager)
    parent._crew._ask, parent._crew._began = answer, time.monotonic() - 100
    for _ in range(2):
        step_until(parent, lambda: parent._crew.children)
        [child] = parent._crew.children
        recorder.received(route, [1, 2, 3])
        child.snapshot, child.answered = recorder.snapshot(), child.started
        shown = await parent._crew.actions()["status"]()
        child.process.kill()
        step_until(parent, lambda child=child: child not in parent._crew.children)
        parent._restart_at = 0
    [found] = shown["routes"]
    assert (found["received"], found["slots"], found["rate_limit"]) == (3 + 6, 10, 50)
    assert shown["uptime"] >= 100
    assert len(shown["processes"]) == 1


async def test_what_children_counted_still_counts_when_they_have_ended(parent):
    """A counter never falls; what a dead child holds is gone."""
    parent._step()
    [child] = parent._crew.children
    assert parent._crew.snapshot().routes == ()
    route = Route(InMemoryProvider(), print, "a")
    manager = LoaferManager([route], name="foobar")
    manager._dispatcher_at_work = manager.dispatcher
    recorder = recorder_of(manager)
    recorder.received(route, [1, 2, 3, 4, 5])
    child.snapshot = recorder.snapshot()
    [shown] = parent._crew.snapshot().routes
    assert (shown.received, shown.slots) == (5, 10)
    child.process.kill()
    step_until(parent, lambda: child not in parent._crew.children)
    [shown] = parent._crew.snapshot().routes
    assert (shown.received, shown.slots) == (5, 0)
    found = families(parent._crew.snapshot())
    assert not any(family.samples for family in found if family.kind == "gauge")
    face = HttpFace(parent._crew, parent._crew.snapshot)
    assert json.loads(face._info(None).text)["routes"] == {}
    await parent._crew.pause()  # nobody is asked to pause it
    step_until(parent, lambda: parent._crew.children)
    parent._crew.children[0].snapshot = recorder.snapshot()
    [shown] = parent._crew.snapshot().routes
    assert (shown.received, shown.slots) == (10, 10)
