"""What an examination says: one remark for each thing looked at. Pure."""

from __future__ import annotations

import enum

import msgspec


class Grade(enum.StrEnum):
    OK = "ok"
    NOTE = "note"
    """Not in use here, or could not be looked at; nothing is wrong with that."""
    WARNING = "warning"
    """It works, and will not for long, or not as well as it could."""
    FAULT = "fault"
    """Requests fail, or money is at risk."""


class Remark(msgspec.Struct, frozen=True, kw_only=True):
    check: str
    subject: str
    """Which disk, node, server."""
    grade: Grade
    said: str
    advice: str = ""
    """What to do; there is some for every warning and fault."""


def ok(check: str, subject: str, said: str) -> Remark:
    return Remark(check=check, subject=subject, grade=Grade.OK, said=said)


def note(check: str, subject: str, said: str) -> Remark:
    return Remark(check=check, subject=subject, grade=Grade.NOTE, said=said)


def warning(check: str, subject: str, said: str, advice: str) -> Remark:
    return Remark(check=check, subject=subject, grade=Grade.WARNING, said=said, advice=advice)


def fault(check: str, subject: str, said: str, advice: str) -> Remark:
    return Remark(check=check, subject=subject, grade=Grade.FAULT, said=said, advice=advice)
