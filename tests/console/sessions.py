"""Sessions of a console without a browser, for tests that are not asynchronous."""

import json
import urllib.request
from urllib.parse import urlsplit


def log_in(url):
    """Return the origin of a console and the headers of a session."""
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc}"
    body = json.dumps({"token": parts.fragment.removeprefix("token=")}).encode()
    headers = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{origin}/api/session", body, headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return origin, headers | {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}
