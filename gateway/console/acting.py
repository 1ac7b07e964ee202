"""An action asked for: what it will do, the button, what came of it; all in the audit trail."""

from __future__ import annotations

import re
import secrets

from starlette.requests import Request
from starlette.responses import Response

from gateway import errors
from gateway.audit.trail import DONE, REFUSED, AuditLine, AuditTrail, Via
from gateway.console.actions import Action, Done, Given
from gateway.console.gate import source_of
from gateway.console.pages import Pages
from gateway.console.sessions import Session
from gateway.console.views import Readers
from gateway.errors import ApiError
from gateway.routes.refusals import REFUSALS

_REFUSALS: tuple[type[Exception], ...] = (ApiError, *REFUSALS)
_ONCE = re.compile(r"[0-9a-f]{32}")
_SUBJECT = re.compile(r"[!-~]{1,200}")


class Acting:
    def __init__(
        self, actions: dict[str, Action], trail: AuditTrail, pages: Pages, read: Readers
    ) -> None:
        self._actions = actions
        self._trail = trail
        self._pages = pages
        self._read = read

    async def ask(self, request: Request, session: Session) -> Response:
        action, subject = self._asked(request)
        return await self._read(lambda: self._page(200, action, subject, session, {}, ""))

    async def act(self, request: Request, session: Session, form: dict[str, str]) -> Response:
        action, subject = self._asked(request)
        given = {field.name: form.get(field.name, "").strip() for field in action.fields}
        once = form.get("once", "")
        problem = _problem(action, given)
        if problem or not _ONCE.fullmatch(once):
            problem = problem or "The form is not one of ours: open the page again."
            return await self._read(
                lambda: self._page(422, action, subject, session, given, problem)
            )
        begun = await self._read(
            lambda: self._trail.begin(
                via=Via.CONSOLE,
                who=session.id,
                source=source_of(request),
                action=action.name,
                subject=subject,
                given=given,
                once=once,
            )
        )
        if begun is None:
            raise errors.conflict(
                "This was done already, or is being done: what came of it is in the audit trail."
            )
        try:
            done = await action.do(subject, {**given, "once": once})
        except _REFUSALS as error:
            await self._after(begun, REFUSED, str(error))
            raise
        except Exception:
            await self._after(begun, REFUSED, "it failed; the log says why")
            raise
        await self._after(begun, DONE, done.says)
        return await self._read(lambda: self._done_page(action, subject, session, done))

    async def _after(self, begun: AuditLine, outcome: str, detail: str) -> None:
        await self._read(lambda: self._trail.end(begun, outcome, detail))

    def _asked(self, request: Request) -> tuple[Action, str]:
        action = self._actions.get(request.path_params["action"])
        subject = request.path_params["subject"]
        if action is None or not _SUBJECT.fullmatch(subject):
            raise errors.unknown_route(request.method, request.url.path)
        return action, subject

    def _page(
        self,
        status: int,
        action: Action,
        subject: str,
        session: Session,
        given: Given,
        problem: str,
    ) -> Response:
        return self._pages.render(
            "action",
            status,
            area="console",
            here="",
            session=session,
            action=action,
            title=action.title.format(subject=subject),
            subject=subject,
            given=given,
            problem=problem,
            once=secrets.token_hex(16),
        )

    def _done_page(self, action: Action, subject: str, session: Session, done: Done) -> Response:
        return self._pages.render(
            "done",
            area="console",
            here="",
            session=session,
            action=action,
            title=action.title.format(subject=subject),
            done=done,
        )


def _problem(action: Action, given: Given) -> str:
    for field in action.fields:
        value = given[field.name]
        if not value and not field.needed:
            continue
        if len(value) > field.chars_max or not re.fullmatch(field.pattern, value):
            return f"{field.label}: {field.hint or 'give one.'}"
    return ""
