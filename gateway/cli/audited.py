"""What a command changes, in the audit trail: before it is done, and what came of it."""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from gateway.audit.trail import DONE, REFUSED, AuditTrail, Via
from gateway.cli.home import open_stores

_HOW = {"home", "as_json"}
"""Options that say nothing of what is changed."""


class Made(msgspec.Struct):
    """For the command to fill in, where it makes what had no name before."""

    subject: str = ""


@contextlib.contextmanager
def audited(home: Path, action: str, subject: str = "") -> Iterator[Made]:
    """Raises click.ClickException if the trail cannot be written: then nothing is to be done."""
    options = click.get_current_context().params
    given = {name: value for name, value in options.items() if name not in _HOW and value}
    with open_stores(home) as database:
        trail, made = AuditTrail(database), Made()
        begun = trail.begin(
            via=Via.CLI,
            who=user(),
            source=socket.gethostname(),
            action=action,
            subject=subject,
            given=given,
        )
        assert begun is not None, "only a button is pressed twice"
        try:
            yield made
        except BaseException as error:
            trail.end(begun, REFUSED, str(error))
            raise
        trail.end(begun, DONE, subject=made.subject)


def user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        return str(os.getuid())
