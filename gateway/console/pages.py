"""Pages made of templates, and the headers under which a browser gets them."""

from __future__ import annotations

import hashlib
from functools import cached_property
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from starlette.responses import Response

from gateway.console import words

_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}
_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_A_YEAR = "public, max-age=31536000, immutable"


class Pages:
    """Thread-safe. `explorer`: there is one, so the others lead to it."""

    def __init__(self, *, explorer: bool) -> None:
        self.first = "/explorer" if explorer else "/playground"
        """Where `/` leads to."""
        self._explorer = explorer
        folder = resources.files("gateway.console")
        self._static = {
            entry.name: entry.read_bytes()
            for entry in folder.joinpath("static").iterdir()
            if entry.name.rpartition(".")[2] in _TYPES
        }
        self._pages = folder.joinpath("pages")

    def render(self, page: str, status: int = 200, **shown: Any) -> Response:
        """The page of that name; whatever is shown is escaped."""
        text = self._templates.get_template(f"{page}.html").render(**shown)
        return Response(text, status, HEADERS, media_type="text/html; charset=utf-8")

    def see_other(self, path: str) -> Response:
        return Response(status_code=303, headers={**HEADERS, "location": path})

    def static(self, name: str) -> Response | None:
        """A style sheet, script or picture; None: there is none of that name."""
        found = self._static.get(name)
        if found is None:
            return None
        media_type = _TYPES[name.rpartition(".")[2]]
        return Response(found, 200, {**HEADERS, "cache-control": _A_YEAR}, media_type=media_type)

    @cached_property
    def _templates(self) -> Environment:
        templates = Environment(
            loader=FunctionLoader(self._read),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        templates.filters |= words.FILTERS
        templates.globals |= {"static": self._address, "has_explorer": self._explorer}
        return templates

    def _read(self, name: str) -> str | None:
        page = self._pages.joinpath(name)
        return page.read_text() if page.is_file() else None

    def _address(self, name: str) -> str:
        """Another one whenever the file is another: browsers may keep it for ever."""
        return f"/static/{name}?{hashlib.sha256(self._static[name]).hexdigest()[:12]}"
