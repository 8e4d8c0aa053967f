"""Guard: decides which requests the console answers, and what each answer forbids to a browser."""

import ipaddress
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from loafer_kit.exceptions import LoaferKitError
from loafer_kit.operations.http import Address

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

#: The one unsafe request that needs no session: it begins one.
SESSION = "/api/session"

#: Seconds that a browser stays logged in.
_SESSION_TIME = 12 * 3600

#: Browsers that may be logged in at once; the next one ends the oldest session.
_MOST_SESSIONS = 16

_SAFE_METHODS = frozenset(["GET", "HEAD"])
_LOOPBACK_NAMES = frozenset(["127.0.0.1", "::1", "localhost"])

#: Message content cannot become code: no inline script or style, and no text that becomes markup.
_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "connect-src": "'self'",
    "img-src": "'self' data:",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in _POLICY.items()),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Refusal(LoaferKitError):  # noqa: N818 - told to a client, not caught by name
    """The console does not answer a request; `status` is that of the answer."""

    def __init__(self, message: str, status: int = 403) -> None:
        super().__init__(message)
        self.status = status


class Guard:
    """Checks the requests to a console at `address`.

    `token` begins a session. Without a session there are the `files` of the page, by their paths.
    Without `write`, nothing can be changed.
    """

    def __init__(self, address: Address, files: Collection[str], *, write: bool) -> None:
        self.address = address
        self.write = write
        self.token = secrets.token_urlsafe(32)
        self._files = files
        self._sessions: deque[str] = deque(maxlen=_MOST_SESSIONS)

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request, or say in one line why not."""
        try:
            self._check_place(request)
            if request.path not in self._files:
                self._check_page(request)
                if (request.method, request.path) != ("POST", SESSION):
                    self._check_session(request)
            return await handler(request)
        except Refusal as refusal:
            return web.json_response({"error": str(refusal)}, status=refusal.status)

    async def add_headers(self, _: web.Request, response: web.StreamResponse) -> None:
        """Add the headers of every answer, also of an error."""
        response.headers.update(HEADERS)

    async def begin_session(self, values: Mapping[str, Any]) -> web.Response:
        """Return the answer that logs a browser in; raise `Refusal` if the token is wrong."""
        given = str(values.get("token")).encode(errors="replace")
        if not secrets.compare_digest(given, self.token.encode()):
            raise Refusal("The token is wrong: open the address that the console printed")
        session = secrets.token_urlsafe(32)
        self._sessions.append(session)
        response = web.json_response({})
        response.set_cookie(
            self._cookie, session, max_age=_SESSION_TIME, httponly=True, samesite="Strict"
        )
        return response

    @property
    def _cookie(self) -> str:
        # The servers of one host share its cookies, whatever their ports are.
        return f"loafer_kit_console_{self.address.port}"

    def _check_place(self, request: web.Request) -> None:
        """Refuse a name that leads here but is not ours, which a hostile page may have rebound."""
        hosts = request.headers.getall(hdrs.HOST, [])
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            raise Refusal(
                f"This console does not answer for that host: use {self.address}", status=421
            )
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is not None and origin != f"http://{hosts[0]}":
            raise Refusal("This console does not answer to pages of other origins")

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in _LOOPBACK_NAMES:
            return True
        # Whoever rebinds a name needs a name: an address cannot be rebound.
        return not self.address.is_loopback and (name == self.address.host or _is_ip(name))

    def _check_page(self, request: web.Request) -> None:
        """Refuse what a page of ours did not ask for."""
        site = request.headers.get("Sec-Fetch-Site")
        if site is None and not self.address.is_loopback:
            # Browsers send it to this machine, but not over plain HTTP to another one.
            if request.method not in _SAFE_METHODS and hdrs.ORIGIN not in request.headers:
                raise Refusal("This console answers to its own page only")
        elif site != "same-origin":
            raise Refusal("This console answers to its own page only")
        if request.method not in _SAFE_METHODS and request.content_type != "application/json":
            raise Refusal("The request must be JSON", status=415)

    def _check_session(self, request: web.Request) -> None:
        given = request.cookies.get(self._cookie, "").encode(errors="replace")
        known = [secrets.compare_digest(given, session.encode()) for session in self._sessions]
        if not any(known):
            raise Refusal("There is no session: open the address that the console printed", 401)
        if request.method not in _SAFE_METHODS and not self.write:
            raise Refusal("The console is read-only: start it with --write")


def _is_ip(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
