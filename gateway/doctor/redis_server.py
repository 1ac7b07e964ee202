"""The Redis that gateways share."""

from __future__ import annotations

import time

from redis import Redis
from redis.exceptions import RedisError

from gateway.config_error import ConfigError
from gateway.doctor.clock import compare
from gateway.doctor.patient import Patient
from gateway.doctor.remark import Remark, fault, note, ok, warning

CHECK = "redis"
VERSION_MIN = (6, 2)
WAIT_S = 5.0


def examine(patient: Patient) -> list[Remark]:
    if patient.config is None or patient.config.redis is None:
        return [note(CHECK, "none", "[redis] is not used: limits are this one process's")]
    settings = patient.config.redis
    try:
        url = settings.address()
        client = Redis.from_url(url, socket_timeout=WAIT_S, socket_connect_timeout=WAIT_S)
    except (ConfigError, ValueError) as error:
        return [fault(CHECK, "[redis]", str(error), "write the URL as redis://host:6379/0")]
    name = _name(client)
    try:
        with client:
            return _examine(client, name, settings.timeout_ms)
    except (RedisError, OSError) as error:
        advice = (
            "start it, or mend the URL; until then limits and money are served on what is leased, "
            "then 429"
        )
        return [fault(CHECK, name, f"does not answer: {error}", advice)]


def _name(client: Redis) -> str:
    """Without its password."""
    given = client.connection_pool.connection_kwargs
    if "path" in given:
        return f"unix:{given['path']}"
    return f"{given.get('host', 'localhost')}:{given.get('port', 6379)}/{given.get('db', 0)}"


def _examine(client: Redis, name: str, timeout_ms: int) -> list[Remark]:
    client.ping()
    began_s, before_ns = time.perf_counter(), time.time_ns()
    seconds, micros = client.time()
    took_ms = (time.perf_counter() - began_s) * 1e3
    found = [
        compare(
            f"redis {name}",
            seconds * 10**9 + micros * 1000 - before_ns - int(took_ms * 5e5),
        )
    ]
    if took_ms > timeout_ms / 2:
        advice = "bring it nearer, or raise [redis] timeout_ms: beyond it Redis is taken for gone"
        said = f"answers in {took_ms:.0f} ms of the {timeout_ms} that it has"
        found.append(warning(CHECK, name, said, advice))
    info = client.info()
    version = str(info["redis_version"])
    if tuple(int(part) for part in version.split(".")[:2]) < VERSION_MIN:
        said = f"is Redis {version}; the tests run on 6.2 and newer"
        found.append(warning(CHECK, name, said, "take a newer Redis"))
    policy = str(info.get("maxmemory_policy", ""))
    if policy not in ("", "noeviction"):
        said = f"maxmemory-policy is {policy}: under pressure it forgets what is leased"
        found.append(fault(CHECK, name, said, "CONFIG SET maxmemory-policy noeviction"))
    if info.get("role") == "slave":
        said = "is a replica, which takes no writes"
        found.append(fault(CHECK, name, said, "name the primary in [redis]"))
    if not any(remark.check == CHECK for remark in found):
        found.append(ok(CHECK, name, f"Redis {version}, answers in {took_ms:.1f} ms"))
    return found
