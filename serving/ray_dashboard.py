"""Ray Serve's REST interface: deploy applications, read their state. Every call has a timeout."""

import http.client
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

APPLICATIONS = "/api/serve/applications/"
NODES = "/api/v0/nodes?detail=1&limit=10000"
DEPLOY_TIMEOUT_S = 60.0


class RayUnavailableError(Exception):
    """The dashboard did not answer, or not as expected; it may be starting or gone."""


class RayRefusedError(Exception):
    """Ray answered that the request is wrong; the message is Ray's."""


class RayDashboard:
    """One cluster's dashboard. `token_path` is the file that `RAY_AUTH_TOKEN_PATH` names; None
    where the cluster asks for no token.
    """

    def __init__(self, url: str, token_path: Path | None, timeout_s: float = 5.0) -> None:
        self.url = url
        self._token_path = token_path
        self._timeout_s = timeout_s

    def applications(self) -> dict[str, Any]:
        """State of all Serve applications. Raises `RayUnavailableError`."""
        answer = self._call("GET", APPLICATIONS, None, self._timeout_s)
        try:
            state = json.loads(answer)
        except ValueError as error:
            raise RayUnavailableError(f"{self.url}: not JSON: {answer[:200]!r}") from error
        if not isinstance(state, dict):
            raise RayUnavailableError(f"{self.url}: answer is not an object: {answer[:200]!r}")
        return state

    def nodes(self) -> list[dict[str, Any]]:
        """The machines that live: `node_id`, `labels`. Raises `RayUnavailableError`."""
        answer = json.loads(self._call("GET", NODES, None, self._timeout_s))
        found: list[dict[str, Any]] = answer["data"]["result"]["result"]
        return [node for node in found if node["state"] == "ALIVE"]

    def deploy(self, config: dict[str, Any]) -> None:
        """Makes `config` the whole of what Serve runs; returns before it runs.

        The first call also starts Serve's controller, which takes seconds. Raises
        `RayUnavailableError`, `RayRefusedError`.
        """
        self._call("PUT", APPLICATIONS, json.dumps(config).encode(), DEPLOY_TIMEOUT_S)

    def _call(self, method: str, path: str, body: bytes | None, timeout_s: float) -> bytes:
        request = urllib.request.Request(self.url + path, data=body, method=method)
        request.add_header("Content-Type", "application/json")
        try:
            if self._token_path is not None:
                token = self._token_path.read_text(encoding="ascii").strip()
                request.add_header("Authorization", f"Bearer {token}")
            # No proxy: the address is loopback, whatever the environment says.
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(request, timeout=timeout_s) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            text = error.read().decode("utf-8", "replace")
            if 400 <= error.code < 500:
                raise RayRefusedError(f"{method} {self.url}{path}: {error.code} {text}") from error
            raise RayUnavailableError(f"{method} {self.url}{path}: {error.code} {text}") from error
        except (OSError, http.client.HTTPException) as error:
            raise RayUnavailableError(f"{method} {self.url}{path}: {error}") from error
