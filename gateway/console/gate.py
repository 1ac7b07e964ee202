"""The console's gate: logging in with the admin key, and who is let through."""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Awaitable, Callable
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from gateway import errors
from gateway.audit.trail import DONE, REFUSED, AuditLine, AuditTrail, Via
from gateway.console.login_pace import LOG_IN, LoginPace
from gateway.console.pages import Pages
from gateway.console.sessions import LASTS_NS, Session, Sessions
from gateway.console.views import Readers, Routes, View, form_of

COOKIE = "tollgate_console"
LOGIN = "/console/login"
_FIRST = "/console"
_OWN = re.compile(r"/console(/[\w.~%:-]+)*(\?[\w.~%:=&-]*)?", re.ASCII)
"""Where a login may lead to: nowhere else."""
_OTHERS = frozenset({"cross-site", "same-site"})

OperatorView = Callable[[Request, Session], Awaitable[Response]]
ActionView = Callable[[Request, Session, dict[str, str]], Awaitable[Response]]


class Gate:
    def __init__(
        self,
        sessions: Sessions,
        pace: LoginPace,
        trail: AuditTrail,
        pages: Pages,
        read: Readers,
    ) -> None:
        self._sessions = sessions
        self._trail = trail
        self._pages = pages
        self._read = read
        self._pace = pace

    @property
    def routes(self) -> Routes:
        return [
            ("GET", LOGIN, self._ask),
            ("POST", LOGIN, self._login),
            ("POST", "/console/logout", self.posted(self._logout)),
        ]

    def shown(self, view: OperatorView) -> View:
        """A page for who is logged in; others are led to the login, and then to the page."""

        async def shown(request: Request) -> Response:
            session = await self._session(request)
            if session is None:
                asked = request.url.path
                if request.url.query:
                    asked = f"{asked}?{request.url.query}"
                return self._pages.see_other(f"{LOGIN}?next={quote(asked, safe='/')}")
            return await view(request, session)

        return shown

    def posted(self, view: ActionView) -> View:
        """A form of one of our own pages, by who is logged in."""

        async def posted(request: Request) -> Response:
            session = await self._session(request)
            if session is None:
                raise errors.not_permitted(
                    "You are not logged in, or no longer: log in, and do it again.",
                    code="login_required",
                )
            form = await form_of(request)
            if not hmac.compare_digest(form.get("csrf", "").encode(), session.csrf.encode()):
                raise errors.not_permitted(
                    "The form is not one of this session's: open the page again.", code="csrf"
                )
            if request.headers.get("sec-fetch-site") in _OTHERS:
                raise errors.not_permitted("The form was on another site.", code="csrf")
            return await view(request, session, form)

        return posted

    async def _session(self, request: Request) -> Session | None:
        secret = request.cookies.get(COOKIE)
        if not secret:
            return None
        return await self._read(lambda: self._sessions.find(secret, time.time_ns()))

    async def _ask(self, request: Request) -> Response:
        wanted = request.query_params.get("next", "")
        if await self._session(request) is not None:
            return self._pages.see_other(_own(wanted))
        return await self._read(lambda: self._page(200, "", wanted))

    async def _login(self, request: Request) -> Response:
        form = await form_of(request)
        source, wanted = source_of(request), form.get("next", "")
        now_ns = time.time_ns()
        wait_ns = await self._read(lambda: self._pace.wait_ns(source, now_ns))
        if wait_ns:
            wait_s = -(-wait_ns // 10**9)
            problem = f"Too many wrong keys: try again in {wait_s} s."
            answer = await self._read(lambda: self._page(429, problem, wanted))
            answer.headers["retry-after"] = str(wait_s)
            return answer
        if not self._sessions.is_key(form.get("key", "").strip()):

            def refused() -> Response:
                self._trail.write(_line("", source, LOG_IN, REFUSED, now_ns))
                return self._page(403, "That is not the admin key.", wanted)

            return await self._read(refused)

        def begun() -> str:
            secret, session = self._sessions.begin(now_ns)
            self._trail.write(_line(session.id, source, LOG_IN, DONE, now_ns))
            return secret

        secret = await self._read(begun)
        response = self._pages.see_other(_own(wanted))
        self._set_cookie(request, response, secret, LASTS_NS // 10**9)
        return response

    async def _logout(self, request: Request, session: Session, _: dict[str, str]) -> Response:
        source = source_of(request)

        def ended() -> None:
            self._sessions.end(request.cookies[COOKIE])
            self._trail.write(_line(session.id, source, "log out", DONE, time.time_ns()))

        await self._read(ended)
        response = self._pages.see_other(LOGIN)
        self._set_cookie(request, response, "", 0)
        return response

    def _page(self, status: int, problem: str, wanted: str) -> Response:
        return self._pages.render(
            "login",
            status,
            area="console",
            problem=problem,
            next=wanted,
            is_on=self._sessions.there_is_a_key,
        )

    def _set_cookie(self, request: Request, response: Response, value: str, age_s: int) -> None:
        """Secure where the browser came by TLS, which a load balancer speaks for us."""
        by_tls = request.headers.get("x-forwarded-proto", request.url.scheme) == "https"
        response.set_cookie(
            COOKIE,
            value,
            max_age=age_s,
            path="/console",
            secure=by_tls,
            httponly=True,
            samesite="strict",
        )


def source_of(request: Request) -> str:
    """The address of who asks; of a load balancer, if there is one."""
    return request.client.host if request.client else "local socket"


def _own(path: str) -> str:
    return path if _OWN.fullmatch(path) and not path.startswith(LOGIN) else _FIRST


def _line(session: str, source: str, action: str, outcome: str, now_ns: int) -> AuditLine:
    return AuditLine(
        at_ns=now_ns,
        via=Via.CONSOLE,
        who=session,
        source=source,
        action=action,
        subject="",
        outcome=outcome,
    )
