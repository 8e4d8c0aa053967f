"""The page in a real browser: every panel, every action, hostile contents, and servers that go away."""

import asyncio
import contextlib
import json
import os
import time
from pathlib import Path

import pytest
from aiohttp import web

from loafer_kit import LoaferManager
from loafer_kit.local.sending import Server
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider

webdriver = pytest.importorskip("selenium.webdriver")
Keys = pytest.importorskip("selenium.webdriver.common.keys").Keys
Select = pytest.importorskip("selenium.webdriver.support.ui").Select
WebDriverWait = pytest.importorskip("selenium.webdriver.support.ui").WebDriverWait

#: Where the pictures of the documentation go, if this variable asks for them.
PICTURES = "LOAFER_KIT_PICTURES"

HOSTILE = [
    "<img src=x onerror='window.hacked = 1'>",
    "</script><script>window.hacked = 1</script>",
    "\u202e<b>evil</b>\u2066 \u0000 \u200b",
    "<svg/onload=window.hacked=1>" + "x" * (1024 * 1024 - 100),
]


class Page:
    """The page of a console, as a person sees it."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, url, *, width=1280, height=900):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.get("about:blank")
        self.driver.get_log("browser")  # forgets those of other tests
        self.driver.get(url)

    def all(self, selector):
        return self.driver.find_elements("css selector", selector)

    def one(self, selector):
        return self.until(lambda: next(iter(self.all(selector)), None))

    def text(self, selector="main"):
        return self.js("return document.querySelector(arguments[0])?.innerText ?? ''", selector)

    def js(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def until(self, condition):
        waiting = WebDriverWait(self.driver, 20, poll_frequency=0.05)
        return waiting.until(lambda _: condition(), self.text("body"))

    def shows(self, text, selector="main"):
        self.until(lambda: text in self.text(selector))

    def click(self, selector):
        """Click an element: where the page is rebuilt meanwhile, a coordinate may be another's."""
        self.js("arguments[0].click()", self.one(selector))

    def row(self, name):
        """Return the selector of the row of a queue or route."""
        self.until(lambda: name in self.text("#queue-rows"))
        names = self.js(
            "return [...document.querySelectorAll('#queue-rows th bdi')].map((n) => n.textContent)"
        )
        return f"#queue-rows tr:nth-child({names.index(name) + 1})"

    def look(self, queue, *, where="", letters=None):
        """Look into a dead-letter queue and wait for the letters."""
        self.click(f"{self.row(queue)} .button") if not where else None
        if where:
            self.one("#look [name=where]").clear()
            self.one("#look [name=where]").send_keys(where)
            self.click("#look button")
        if letters is not None:
            self.until(lambda: len(self.all("#letter-rows li")) == letters)

    def fill(self, selector, text):
        """Type into a field, with the events of typing; selenium types a megabyte for minutes."""
        self.js(
            "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input', {bubbles: true}))",
            self.one(selector),
            text,
        )

    def problems(self):
        """Return what the browser complained of."""
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if entry["level"] == "SEVERE"
        ]

    def picture(self, name):
        if folder := os.environ.get(PICTURES):
            self.driver.save_screenshot(str(Path(folder) / f"{name}.png"))


@pytest.fixture
def page(chromium):
    return Page(chromium)


def bury(stage, body, reason="KeyError: 'customer'", source="orders"):
    attributes = {"DeadLetterReason": reason, "DeadLetterSourceQueue": source}
    return stage.queues.send(f"{source}-dead", body, attributes=attributes)


def draw_lines(stage):
    """Take a minute to give the lines of a picture something to show."""
    for second in range(40):
        for number in range(second % 20 // 2):
            stage.queues.send("orders" if second % 10 == 9 else "audit.fifo", {"number": number})
        if second % 7 == 0:
            stage.queues.delete_messages("audit.fifo", stage.queues.receive("audit.fifo"))
        time.sleep(1)


def test_every_panel_shows_a_service_at_work(stage, page):
    """Queues, routes, handlers and messages, live; the token leaves the address."""
    stage.open_service()
    stage.open_console()
    for number in range(12):
        stage.queues.send("orders", {"number": number})
    stage.queues.send("orders", {"reject": "there is no customer 4711"})
    stage.queues.send("mails", {"raise": "address"})
    stage.queues.send("mails", {"wait": 300})
    for _ in range(3):
        bury(stage, {"number": "7"})
    page.open(stage.url, width=1240, height=880)
    page.shows("live", "#connection")
    assert page.js("return location.hash") == ""
    page.shows("acknowledged", "#routes")
    page.shows("1 running, oldest", "#routes")
    page.shows("there is no customer 4711", "#message-rows")
    page.shows("KeyError('address')", "#message-rows")
    page.until(lambda: page.text(f"{page.row('orders-dead')} .strong") == "4")
    page.until(lambda: page.js("return document.querySelector('polyline.wait').points.length") > 3)
    label = page.one(f"{page.row('orders')} svg").get_attribute("aria-label")
    assert "waiting and" in label
    page.click("#routes tbody tr:nth-child(2) summary")
    page.shows(" s ", "#routes tbody tr:nth-child(2) .handlers")
    page.one("#search").send_keys("4711")
    page.until(lambda: len(page.all("#message-rows tr")) == 1)
    page.fill("#search", "")
    page.click("#failed-only")
    page.until(lambda: len(page.all("#message-rows tr")) == 2)
    page.click("#failed-only")
    if PICTURES in os.environ:
        draw_lines(stage)
    page.look("orders-dead", letters=4)
    page.click("#letter-rows details summary")
    page.shows('"', "#letter-rows .content pre")
    page.js("scrollTo({top: 0, behavior: 'instant'})")
    page.picture("console-light")
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    light = page.js("return getComputedStyle(document.body).backgroundColor")
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    assert page.js("return getComputedStyle(document.body).backgroundColor") != light
    page.picture("console-dark")
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert page.problems() == []


def test_a_route_is_paused_and_resumed_and_a_message_is_sent_with_a_form(stage, page):
    """The form and the body say the same; the outcome is announced."""
    stage.open_service()
    stage.open_console()
    page.open(stage.url)
    page.shows("Pause", "#routes")
    page.click("[aria-label='Pause orders']")
    page.shows("orders is paused", "#outcome")
    page.shows("paused", "#routes .tags")
    page.click("[aria-label='Send a message to orders']")
    form = "#write-fields"
    page.fill(f"{form} input[type=number]", "42")
    Select(page.one(f"{form} select")).select_by_visible_text("paid")
    page.fill(f"{form} fieldset input", "Main Street")
    page.fill(f"{form} textarea", '["a", "b"]')
    body = json.loads(page.js("return document.forms[2].body.value"))
    assert (body["number"], body["status"]) == (42, "paid")
    assert (body["ship_to"]["street"], body["lines"]) == ("Main Street", ["a", "b"])
    page.fill("#write [name=body]", json.dumps(body | {"number": 7}))
    assert page.js("return document.querySelector('#write-fields input').value") == "7"
    page.fill(f"{form} textarea", "[")
    page.click("#write button.primary")
    assert page.all("#write[open]")  # the list is not JSON
    page.fill(f"{form} textarea", "[]")
    page.click("#write button.primary")
    page.shows("Sent ", "#outcome")
    assert not page.all("#write[open]")
    page.click("[aria-label='Resume orders']")
    page.shows("1 acknowledged", "#routes")
    page.until(lambda: "orders" in page.text("#message-rows"))
    assert page.problems() == []


def test_letters_are_filtered_replayed_edited_and_deleted(stage, page):
    """Each after a question; the body is fetched when it is asked for."""
    stage.open_console()
    for number in range(6):
        bury(stage, {"number": number}, "ValueError: 5" if number == 5 else "KeyError: 'customer'")
    page.open(stage.url)
    page.shows("6", page.row("orders-dead"))
    page.look("orders-dead", letters=6)
    assert '"number"' not in page.text("#letters")
    page.look("orders-dead", where="exception == 'ValueError'", letters=1)
    page.shows("ValueError: 5", "#letter-rows")
    page.click("#letter-rows details summary")
    page.shows('"number": 5', "#letter-rows pre")
    page.click("#letter-rows .actions button:nth-child(2)")  # Edit…
    page.until(lambda: page.js("return document.forms[2].body.value") == '{"number": 5}')
    page.fill("#write [name=body]", '{"number": "five"}')
    page.click("#write button.primary")
    page.shows("1 replayed", "#outcome")
    page.look("orders-dead", where=" ", letters=5)
    page.click("#letter-rows .actions button:nth-child(1)")  # Replay…
    page.click("#ask button.primary")
    page.until(lambda: len(page.all("#letter-rows li")) == 4)
    page.click("#letter-rows li:nth-child(1) input")
    page.click("#letter-rows li:nth-child(2) input")
    page.shows("2 chosen", "#chosen")
    page.click("#delete-chosen")
    page.shows("Delete 2 letters of orders-dead?", "#ask")
    page.click("#ask [data-close]")
    assert len(page.all("#letter-rows li")) == 4
    page.click("#delete-chosen")
    page.click("#ask button.danger")
    page.shows("2 deleted", "#outcome")
    page.until(lambda: len(page.all("#letter-rows li")) == 2)
    page.click("#choose-all")
    page.click("#replay-chosen")
    page.click("#ask button.primary")
    page.until(lambda: not page.all("#letter-rows li"))
    assert stage.queues.counts("orders-dead").total == 0
    bodies = [message["Body"] for message in stage.queues.receive("orders")]
    assert '{"number": "five"}' in bodies
    assert len(bodies) == 4
    assert page.problems() == []


def test_on_aws_the_queue_must_be_named(stage, page, monkeypatch):
    """The dialog asks for it, and an error stays in the dialog."""
    made = Server.__init__
    monkeypatch.setattr(
        Server, "__init__", lambda self, place, clients, *_: made(self, place, clients, False)
    )
    bury(stage, {"number": 1})
    stage.open_console()
    page.open(stage.url)
    page.look("orders-dead", letters=1)
    page.click("#letter-rows .danger")
    page.shows("Type orders-dead to confirm", "#ask")
    page.click("#ask button.danger")
    page.shows("Type the name of the queue", "#ask .error")
    page.fill("#ask [name=typed]", "orders-dead")
    page.click("#ask button.danger")
    page.shows("1 deleted", "#outcome")
    assert [text for text in page.problems() if "/api/purge" not in text] == []


def test_a_read_only_console_offers_nothing_to_change(stage, page):
    """Looking at letters stays."""
    bury(stage, {"number": 1})
    stage.open_service()
    stage.open_console(write=False)
    page.open(stage.url)
    page.shows("read-only", "#mode")
    page.shows("received", "#routes")
    page.look("orders-dead", letters=1)
    shown = page.js(
        "return [...document.querySelectorAll('main button, main [type=checkbox]')]"
        ".filter((n) => n.checkVisibility()).map((n) => n.id || n.innerText)"
    )
    assert shown == ["Look", "failed-only"]


def test_hostile_contents_stay_text(stage, page):
    """Bodies, reasons and attributes; a megabyte is shown in part until it is asked for."""
    for body in HOSTILE:
        bury(stage, body, reason="<img src=x onerror='window.hacked = 1'>")
    stage.open_service()
    stage.open_console()
    stage.queues.send("orders", {"reject": HOSTILE[0]})
    stage.queues.send("mails", {"raise": HOSTILE[1]})
    page.open(stage.url)
    page.shows("<img src=x onerror=", "#message-rows")
    page.shows("</script><script>", "#message-rows")
    page.look("orders-dead", letters=5)
    for summary in page.all("#letter-rows summary"):
        page.js("arguments[0].click()", summary)
    page.until(lambda: len(page.all("#letter-rows pre")) == 5)
    bodies = page.js(
        "return [...document.querySelectorAll('#letter-rows pre')].map((n) => n.textContent)"
    )
    assert sum(body in bodies for body in HOSTILE[:2]) == 2
    assert any("\\u202e<b>evil</b>\\u2066" in body for body in bodies)
    assert sum(map(len, bodies)) < 25_000
    page.shows("Show all 1,048,5", "#letter-rows")
    page.click("#letter-rows .content button")
    page.until(
        lambda: page.js(
            "return Math.max(...[...document.querySelectorAll('#letter-rows pre')].map((n) => n.textContent.length))"
        )
        > 1_000_000
    )
    assert page.js("return window.hacked") is None
    assert page.all("#letter-rows img, #letter-rows svg, #letter-rows b, #message-rows img") == []
    assert page.problems() == []


def test_ten_thousand_messages_leave_the_page_quick(stage, page):
    """It holds the last two hundred."""
    release = asyncio.Event()

    async def handle(content, metadata):
        if content > 5:
            await release.wait()
        return True

    @contextlib.asynccontextmanager
    async def busy():
        provider = InMemoryProvider(range(10_000), endless=True)
        manager = LoaferManager([Route(provider, handle, "orders", concurrency=100)], name="shop")
        task = asyncio.create_task(manager.serve())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    stage.open_console()
    _, stage.closing["service"] = stage.threaded.enter(busy)
    page.open(stage.url)
    page.shows("100 running", "#routes")
    stage.threaded.loop.call_soon_threadsafe(release.set)
    page.shows("10,000 acknowledged", "#routes")
    page.until(lambda: len(page.all("#message-rows tr")) == 200)
    # The page answers a key within a frame or two, while states arrive.
    took = page.js(
        "const begun = performance.now(); const field = document.querySelector('#search');"
        "field.value = 'nothing'; field.dispatchEvent(new Event('input'));"
        "return performance.now() - begun"
    )
    assert page.all("#message-rows tr") == []
    assert took < 1_000
    assert page.problems() == []


def test_a_console_and_a_service_that_go_away_come_back(stage, page):
    """The page says what is missing, and its state is marked as old."""
    stage.open_service()
    stage.open_console()
    page.open(stage.url)
    page.shows("received", "#routes")
    stage.close("service")
    page.shows("not connected", "#routes")
    stage.open_service()
    page.until(lambda: "not connected" not in page.text("#routes"))
    stage.close("console")
    page.shows("no connection", "#connection")
    page.shows("does not answer", "#notice")
    assert page.js("return document.body.className") == "stale"
    stage.open_console()
    page.shows("There is no session", "#notice")
    page.js("location.href = arguments[0]", stage.url)  # as a person opens it in the same tab
    page.shows("live", "#connection")
    assert page.js("return document.querySelector('#notice').hidden")
    page.shows("received", "#routes")


def test_other_sites_reach_nothing(stage, page):
    """A rebound name gets no page; a page of another port of this machine no answer."""
    stage.open_console()
    page.open(stage.url)
    page.shows("live", "#connection")
    page.driver.get(f"http://rebound.localhost:{stage.port}/")
    assert "does not answer for that host" in page.text("body")

    async def other_page(_):
        return web.Response(text="<!doctype html><title>other</title>", content_type="text/html")

    @contextlib.asynccontextmanager
    async def other_site():
        application = web.Application()
        application.router.add_get("/", other_page)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
        await runner.cleanup()

    port, close = stage.threaded.enter(other_site)
    try:
        page.driver.get(f"http://127.0.0.1:{port}/")
        ask = """
            const [url, options, done] = arguments;
            fetch(url, {credentials: "include", ...options})
              .then((answer) => done(answer.type + answer.status), () => done("blocked"));
        """
        here = f"http://127.0.0.1:{stage.port}"
        headers = {"Content-Type": "application/json"}
        body = json.dumps({"queue": "orders", "body": "forged"})
        for path, options in (
            ("/api/letters?queue=orders-dead&limit=1", {}),
            ("/api/send", {"method": "POST", "body": body, "headers": headers}),
            ("/api/send", {"method": "POST", "body": body}),
            ("/app.js", {}),
        ):
            assert page.driver.execute_async_script(ask, here + path, options) == "blocked"
        no_cors = {"method": "POST", "body": body, "mode": "no-cors"}
        page.driver.execute_async_script(ask, f"{here}/api/send", no_cors)
    finally:
        close()
    assert stage.queues.counts("orders").total == 0


def test_the_page_works_by_keyboard_with_a_screen_reader_and_on_a_phone(stage, page):
    """Escape closes a dialog and the focus returns; everything has a name; nothing is cut off."""
    bury(stage, {"number": 1})
    stage.open_service()
    stage.open_console()
    page.open(stage.url, width=360, height=800)
    page.shows("received", "#routes")
    page.look("orders-dead", letters=1)
    assert page.js("return document.documentElement.scrollWidth") <= 360
    button = page.one("[aria-label='Send a message to orders']")
    page.js("arguments[0].focus()", button)
    span = page.one("#span").text
    page.until(lambda: page.one("#span").text != span)  # a newer state is shown
    assert page.driver.switch_to.active_element == button
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    page.one("#write[open]")
    assert page.js("return document.documentElement.scrollWidth") <= 360
    page.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    page.until(lambda: not page.all("#write[open]"))
    assert page.driver.switch_to.active_element == button
    page.js("document.querySelector('.skip').focus()")
    assert page.js("return document.activeElement.getBoundingClientRect().left") > 0
    nodes = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node["ignored"]
    ]
    named = {
        "button",
        "checkbox",
        "textbox",
        "combobox",
        "searchbox",
        "spinbutton",
        "link",
        "image",
        "meter",
    }
    assert [role for role, name in roles if role in named and not name.strip()] == []
    assert {"banner", "navigation", "main", "region", "status"} <= {role for role, _ in roles}
    assert page.problems() == []
