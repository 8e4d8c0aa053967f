"""Who may use the console: hosts, origins, tokens, sessions, and what a browser may do with it."""

import json
import re
from pathlib import Path

import pytest

import loafer_kit.console
from loafer_kit.console import server as module

PAGE = Path(loafer_kit.console.__file__).with_name("page")
#: What a page asks of the console, and what must be refused alike.
READS = ["/api/session", "/api/stream", "/api/letters?queue=a", "/api/letter?queue=a&id=b"]
WRITES = ["/api/flow", "/api/send", "/api/replay", "/api/purge"]


async def test_the_token_in_the_fragment_begins_a_session_in_a_cookie(console):
    """Scripts cannot read it, and other sites cannot have it sent."""
    async with console(log_in=False) as client:
        assert (await client.get("/api/session"))[0] == 401
        cookie = (await client.log_in())["Set-Cookie"]
        assert (await client.get("/api/session"))[0] == 200
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert client.token not in cookie


@pytest.mark.parametrize(
    "token", ["", "a", None, [], 7, "ü", "x" * 100_000], ids=lambda token: str(type(token))
)
async def test_a_wrong_token_begins_none(console, token):
    """Whatever its type is."""
    async with console(log_in=False) as client:
        status, answer, headers = await client.post("/api/session", {"token": token})
        assert (status, "Set-Cookie" in headers) == (403, False)
        assert "token is wrong" in answer["error"]
        assert (await client.get("/api/session"))[0] == 401


@pytest.mark.parametrize("path", READS + WRITES)
async def test_nothing_but_the_page_is_there_without_a_session(console, path):
    """A forged cookie is none."""
    async with console(write=True, log_in=False) as client:
        for cookie in (None, f"loafer_kit_console_{client.origin.rpartition(':')[2]}=forged"):
            ask = client.post if path in WRITES else client.get
            status, answer, _ = await ask(path, Cookie=cookie)
            assert (status, "open the address" in answer["error"]) == (401, True)


async def test_the_seventeenth_session_ends_the_first(console):
    """Sessions take a bounded memory."""
    async with console() as client:
        first = (await client.log_in())["Set-Cookie"].partition(";")[0]
        client.session.cookie_jar.clear()
        for _ in range(15):
            await client.log_in()
            client.session.cookie_jar.clear()
        assert (await client.get("/api/session", Cookie=first))[0] == 200
        await client.log_in()
        client.session.cookie_jar.clear()
        assert (await client.get("/api/session", Cookie=first))[0] == 401


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example",
     "localhost.", "10.0.0.1", "0.0.0.0", "[::2]", "[", "", "a@127.0.0.2", "user@evil.example"],
)  # fmt: skip
async def test_a_name_that_was_rebound_is_refused(console, host):
    """A page of another site that resolves to this machine gets nothing, not even our page."""
    async with console(write=True) as client:
        for path in ("/", "/app.js", "/api/session", "/nothing"):
            status, answer, _ = await client.get(path, Host=host)
            assert (status, "does not answer for that host" in answer["error"]) == (421, True)
        assert (await client.post("/api/send", {}, Host=host))[0] == 421


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
async def test_the_names_of_this_machine_are_ours_with_any_port(console, host):
    """A forwarded port may have another number."""
    async with console() as client:
        assert (await client.get("/", Host=f"{host}:4711"))[0] == 200


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "", "https://{host}", "http://{host}.evil.example", "http://127.0.0.1:1",
     "http://localhost"],
)  # fmt: skip
async def test_a_foreign_origin_is_refused(console, origin):
    """The right cookie does not help it."""
    async with console(write=True) as client:
        origin = origin.format(host=client.origin.removeprefix("http://"))
        for path in ("/api/session", *WRITES):
            status, answer, _ = await client.post(path, {"token": client.token}, Origin=origin)
            assert (status, "other origins" in answer["error"]) == (403, True)
        assert (await client.get("/api/session", Origin=origin))[0] == 403


@pytest.mark.parametrize("site", [None, "cross-site", "same-site", "none", "", "SAME-ORIGIN"])
async def test_only_its_own_page_may_ask(console, site):
    """Also a page of another port of this machine, which is same-site, is refused."""
    async with console(write=True) as client:
        for path in READS:
            status, answer, _ = await client.get(path, Sec_Fetch_Site=site)
            assert (status, "its own page only" in answer["error"]) == (403, True)
        for path in ("/api/session", *WRITES):
            status, answer, _ = await client.post(path, {}, Sec_Fetch_Site=site)
            assert (status, "its own page only" in answer["error"]) == (403, True)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
async def test_a_request_that_a_form_can_make_is_refused(console, kind):
    """Browsers ask before they send JSON elsewhere."""
    async with console(write=True) as client:
        status, answer, _ = await client.post("/api/send", {}, Content_Type=kind or "text/html")
        assert (status, answer["error"]) == (415, "The request must be JSON")


@pytest.mark.parametrize("path", WRITES)
async def test_a_console_is_read_only_unless_it_is_told_otherwise(console, path):
    """Whatever the page shows."""
    async with console() as client:
        status, answer, _ = await client.post(path, {"queue": "orders", "confirm": "orders"})
        assert (status, "start it with --write" in answer["error"]) == (403, True)
    async with console(write=True) as client:
        assert (await client.post(path, {}))[0] == 400


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
async def test_other_methods_change_nothing(console, method):
    """They count as unsafe."""
    async with console() as client:
        status, *_ = await client._request(method, "/api/send", {}, json={})
        assert status in {403, 405}


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff", b'{"body": "\\ud800"}', b'{"body": ' + b"[" * 100_000],
)
async def test_a_request_that_is_no_object_is_refused_in_one_line(console, content):
    """The console goes on."""
    async with console(write=True) as client:
        headers = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/json"}
        async with client.session.post(
            f"{client.origin}/api/send", data=content, headers=headers
        ) as answer:
            assert answer.status == 400
            assert (await answer.json())["error"].startswith("The request must be")


async def test_every_answer_forbids_what_the_page_does_not_need(console):
    """No inline code, no frames, no other sites, no guessed types, no caches, no referrers."""
    async with console() as client:
        answers = [await client.get(path) for path in ("/", "/app.js", "/api/session", "/nothing")]
        answers.append(await client.get("/", Host="evil.example"))
    assert [status for status, *_ in answers] == [200, 200, 200, 404, 421]
    for _, _, headers in answers:
        policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
        assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert policy["frame-ancestors"] == "'none'"
        assert policy["require-trusted-types-for"] == "'script'"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
        assert "Access-Control-Allow-Origin" not in headers


async def test_on_another_address_the_console_answers_to_addresses_only(console):
    """A name could be rebound, an address cannot."""
    async with console(address="0.0.0.0:0", write=True) as client:
        for host, status in (("10.1.2.3:80", 200), ("[::2]", 200), ("evil.example", 421)):
            assert (await client.get("/", Host=host))[0] == status
        # Over plain HTTP, browsers do not tell another machine which site asks.
        assert (await client.get("/api/session", Sec_Fetch_Site=None))[0] == 200
        assert (await client.post("/api/send", {}, Sec_Fetch_Site=None))[0] == 400
        assert (await client.post("/api/send", {}, Sec_Fetch_Site=None, Origin=None))[0] == 403
        assert (await client.post("/api/send", {}, Sec_Fetch_Site="same-site"))[0] == 403


@pytest.mark.parametrize("word", ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write"])
def test_the_page_never_turns_text_into_markup(word):
    """What it shows was written by strangers."""
    assert not [file.name for file in PAGE.glob("*.js") if word in file.read_text()]


def test_the_page_has_no_inline_code_and_no_other_sites():
    """Its policy forbids both: a browser would ignore them."""
    page = (PAGE / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=|<style|javascript:", page)
    for file in PAGE.iterdir():
        found = re.findall(r"(?:https?:)?//[\w.-]+\.\w+", file.read_text())
        assert [url for url in found if url != "http://www.w3.org"] == [], file


def test_the_page_is_small():
    """It is read from the disk of a server over a slow line."""
    assert sum(file.stat().st_size for file in PAGE.iterdir()) < 60_000


async def test_more_than_sixteen_pages_are_refused(console, monkeypatch):
    """Open streams take a bounded memory."""
    monkeypatch.setattr(module, "_MOST_STREAMS", 1)
    async with console() as client:
        headers = {"Sec-Fetch-Site": "same-origin"}
        async with client.session.get(f"{client.origin}/api/stream", headers=headers) as stream:
            assert (await stream.content.readline()) == b"event: services\n"
            assert json.loads((await stream.content.readline()).removeprefix(b"data: ")) == {
                "write": False,
                "services": [],
            }
            status, answer, _ = await client.get("/api/stream")
            assert (status, answer["error"]) == (503, "1 pages are open already: close one")
