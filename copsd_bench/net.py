"""Does a server answer? Asked once a process, within seconds, before clients that would retry for minutes."""

import threading
from functools import cache

PROBE_SECONDS = 4.0


@cache
def answers(url: str) -> bool:
    """Whether the server of `url` gives any HTTP answer within `PROBE_SECONDS` (proxies from the environment)."""
    import httpx

    answered = threading.Event()

    def probe() -> None:
        try:
            httpx.head(url, timeout=PROBE_SECONDS, follow_redirects=False)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError):
            return  # no name server, refused, proxy, certificate: all mean that it cannot be used
        answered.set()

    # A name server that does not answer blocks beyond any timeout of an HTTP client: hence a thread to walk away from.
    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return answered.is_set()
