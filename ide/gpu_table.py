"""The published table of GPU classes and their multipliers, as data that ships with the package."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from types import MappingProxyType

import msgspec

from metering.money import PPM, MoneyError, parse_usd

_NANO_A_PPM = 1_000


class GpuTable(msgspec.Struct, frozen=True, kw_only=True):
    """One version of the table: millionths of a multiplier by class, and the pool of each."""

    version: str
    multiplier_ppm: MappingProxyType[str, int]
    pool: MappingProxyType[str, str]


class GpuTableError(ValueError):
    """A table that cannot be read; the message names the class."""


@cache
def gpu_table(version: str) -> GpuTable | None:
    """The table of that version; None if this release does not carry it."""
    table = read_gpu_table(files("ide").joinpath("gpu_classes.toml").read_text())
    return table if table.version == version else None


def read_gpu_table(text: str) -> GpuTable:
    """A table out of TOML: `version`, then one section a pool, class = "multiplier".

    Raises GpuTableError for a class that comes twice or a multiplier that is no number.
    """
    sections = tomllib.loads(text)
    version = sections.pop("version")
    multiplier_ppm: dict[str, int] = {}
    pools: dict[str, str] = {}
    for pool, classes in sections.items():
        for gpu_class, multiplier in classes.items():
            if gpu_class in multiplier_ppm:
                raise GpuTableError(f"{gpu_class} comes twice: keep it in one pool")
            multiplier_ppm[gpu_class] = _ppm(gpu_class, multiplier)
            pools[gpu_class] = pool
    return GpuTable(
        version=version,
        multiplier_ppm=MappingProxyType(multiplier_ppm),
        pool=MappingProxyType(pools),
    )


def _ppm(gpu_class: str, multiplier: str) -> int:
    try:
        nano = parse_usd(multiplier)  # nine decimals: the same digits, another unit
    except MoneyError as error:
        raise GpuTableError(
            f"{gpu_class}: '{multiplier}' is no multiplier: write it like 1.25"
        ) from error
    ppm, finer = divmod(nano, _NANO_A_PPM)
    if finer or ppm > 1_000 * PPM:
        raise GpuTableError(f"{gpu_class}: give a multiplier up to 1,000 with at most 6 decimals")
    return ppm
