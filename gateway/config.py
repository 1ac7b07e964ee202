"""The one TOML file of a gateway, read into frozen records. Pure but for `load`.

Unknown keys and wrong types are refused with the line they stand on. Secrets are never in the file:
a key that needs one names a file (`..._file`) or an environment variable (`..._env`).
"""

from __future__ import annotations

import os
import re
import ssl
import tomllib
from pathlib import Path
from typing import Annotated

import msgspec

from gateway.admin_config import AdminConfig
from gateway.batches.config import BatchesConfig
from gateway.billing.config import BillingConfig
from gateway.billing.sla_config import SlaConfig
from gateway.canaries.config import CanariesConfig
from gateway.config_error import ConfigError as ConfigError
from gateway.config_error import read_secret
from gateway.config_hint import hint
from gateway.console.config import ConsoleConfig
from gateway.enrolment.config import EnrolmentConfig
from gateway.exchange.failover import FailoverConfig
from gateway.files.config import FilesConfig
from gateway.honesty.config import HonestyConfig
from gateway.ledger_config import LedgerConfig
from gateway.logs.config import LogConfig
from gateway.openai.request import Endpoint
from gateway.openrouter.listing import Listing
from gateway.pools.config import GpuClassConfig, PoolConfig, RayConfig, check_pools
from gateway.price_terms import PriceTerms
from gateway.quota_config import QuotaConfig, check_quotas
from gateway.redis_config import RedisConfig
from gateway.reputation.config import ReputationConfig
from gateway.responses.config import ResponsesConfig
from gateway.routing.config import RouterConfig
from gateway.settlement.config import SettlementConfig, price_of_io
from gateway.solana_config import SolanaConfig
from gateway.timeouts import ClientTimeouts, Timeouts
from gateway.traces.config import TracesConfig
from ide.price_sources import OracleConfig
from metering.limits import Limits
from metering.money import PPM
from metering.price_book import ALWAYS_NS, Tariff
from metering.prices import PriceError
from router.types import NodeRecord

_Positive = Annotated[int, msgspec.Meta(ge=1)]
_Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    host: str = "127.0.0.1"
    """Address or name to listen on; "0.0.0.0" is every one of the machine."""
    port: _Port = 8080
    """0: any that is free."""
    workers: _Positive = 1
    """Processes on the one port. More than one need [redis]."""
    body_bytes_max: _Positive = 4 * 1024 * 1024
    """Of a request; a larger one is refused (413)."""
    open_requests_max: _Positive = 2048
    """Of each worker at one time; what is beyond is refused (429)."""
    leave_s: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Told to stop, it serves on for so long while /readyz says that it leaves: load balancers send
    it nothing more by the time that its port closes.
    """
    drain_s: _Positive = 30
    """Then open streams have so long to finish."""
    node_first_byte_timeout_s: _Positive = 300
    """From a node's being asked to its first byte."""
    node_idle_timeout_s: _Positive = 60
    """Between two bytes of a node's answer."""
    stream_keep_alive_s: Annotated[int, msgspec.Meta(ge=0)] = 5
    """A stream that is silent for so long gets a comment, from its acceptance on; 0: never."""
    client_stall_timeout_s: _Positive = 120
    """A client that takes nothing of its answer for so long is taken for gone."""
    client_head_timeout_s: _Positive = 20
    """From the first byte of a request's head to its last."""
    client_body_timeout_s: _Positive = 20
    """For a request's body; each byte that comes earns more time, at 16 KiB/s."""
    client_idle_timeout_s: _Positive = 75
    """Between two requests on one connection."""
    cors_origins: tuple[str, ...] = ("*",)
    """Web pages that may call the API from a browser: origins, or "*"; none switches CORS off."""

    @property
    def client_timeouts(self) -> ClientTimeouts:
        return ClientTimeouts(
            head_ns=self.client_head_timeout_s * 10**9,
            body_ns=self.client_body_timeout_s * 10**9,
            idle_ns=self.client_idle_timeout_s * 10**9,
            stall_ns=self.client_stall_timeout_s * 10**9,
        )

    @property
    def timeouts(self) -> Timeouts:
        return Timeouts(
            first_byte_ns=self.node_first_byte_timeout_s * 10**9,
            idle_ns=self.node_idle_timeout_s * 10**9,
            client_stall_ns=self.client_stall_timeout_s * 10**9,
            keep_alive_ns=self.stream_keep_alive_s * 10**9,
        )


class SpoolConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    rows_max: _Positive = 1_000_000
    """Rows not yet in the ledger; beyond it requests get 429 instead of going unrecorded."""
    kept_minutes: Annotated[int, msgspec.Meta(ge=0)] = 60
    """Rows that are in the ledger stay for so long, for one that is restored from a backup: longer
    than from one backup to the next, and until a restore is done.
    """
    kept_mib_max: Annotated[int, msgspec.Meta(ge=0)] = 64
    """But no more than about so much of each process; every start reads it once."""


class LimitsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of every key that has no own. Without any there is no limit."""

    requests_per_minute: _Positive | None = None
    """Accepted ones."""
    tokens_per_minute: _Positive | None = None
    """Of prompt and answer."""
    concurrent_requests: _Positive | None = None
    """Under way at one time."""

    def limits(self) -> Limits:
        return Limits(**msgspec.structs.asdict(self))


class ModelConfig(PriceTerms, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str
    """Its name for customers."""
    context_tokens_max: _Positive
    """Of prompt and answer together."""
    kinds: tuple[Endpoint, ...] = (Endpoint.CHAT, Endpoint.COMPLETIONS)
    """What it can be asked for."""
    description: str = ""
    """For people, where models are listed."""
    free_tokens_per_day: _Positive | None = None
    """Of each account, on each UTC day; what does not fit into the rest is paid."""
    demo: bool = False
    """Shown wherever the model is listed: its answers are canned."""
    reasoning_content_alias: bool = False
    """Answers tell `reasoning` once more as `reasoning_content`, its name at other providers."""
    created: int = 0
    """Unix seconds, for /v1/models."""
    owned_by: str = "tollgate"
    """For /v1/models."""
    tokenizer_file: str | None = None
    """The model's tokenizer.json, for exact counts before dispatch; without it bounds are used."""
    listing: Listing = Listing()
    path: str = ""
    """Of its weights, on the machines of its pools."""
    pool: tuple[PoolConfig, ...] = ()

    def tariff(self) -> Tariff:
        """What it costs as long as the price book says nothing else. Raises ConfigError."""
        try:
            return self.tariff_of(self.id, ALWAYS_NS)
        except PriceError as error:
            raise ConfigError(str(error)) from None


class NodeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A node that is always there. Any server with OpenAI's API will do."""

    id: str
    """Its name in the books, other than any node's."""
    supplier: str
    """Who is paid for it."""
    url: str
    """Up to where `/v1/...` begins: `https://host:port`, or `unix:/path/of/a.sock`."""
    model: str
    """The `id` of the [[model]] that it serves."""
    served_model: str | None = None
    """What the node itself calls the model, if otherwise."""
    capacity: _Positive = 256
    """Requests that it can run at one time."""
    engine: str = "openai"
    """"vllm" reports usage as it runs, so that a cut stream is billed to the token."""
    gpu: str = ""
    """As the price list and the router call it, such as "H100"."""
    region: str = ""
    """Where it stands: requests may name it."""
    tier: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0
    """What requests may ask for at least."""
    price_ppm: Annotated[int, msgspec.Meta(ge=1, le=PPM)] = PPM
    """What its answers cost, in millionths of the model's price."""
    api_key_env: str | None = None
    api_key_file: str | None = None
    trusted: bool = True
    """You vouch for it: it gets requests whatever its reputation, and canaries are compared with
    its answers.
    """
    ca_file: str | None = None
    """PEM certificates to trust instead of the system's; for an `https:` url."""

    def record(self) -> NodeRecord:
        try:
            return msgspec.convert(
                {
                    "node_id": self.id,
                    "supplier_id": self.supplier,
                    "url": _base_url(self.url),
                    "model": self.model,
                    "served_model": self.served_model,
                    "capacity": self.capacity,
                    "engine": self.engine,
                    "gpu": self.gpu,
                    "region": self.region,
                    "trusted": self.trusted,
                    "tier": self.tier,
                    "price_ppm": self.price_ppm,
                },
                NodeRecord,
            )
        except msgspec.ValidationError as error:
            raise ConfigError(f"node '{self.id}': {error}") from None

    def tls(self) -> ssl.SSLContext | None:
        """What to trust, if not the system's certificates. Raises ConfigError."""
        if self.ca_file is None:
            return None
        where = f"node '{self.id}': ca_file {self.ca_file}"
        if not self.url.startswith("https://"):
            raise ConfigError(f"{where}: only for an https:// url, and this one is {self.url}")
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except ssl.SSLError:
            raise ConfigError(f"{where}: holds no PEM certificates") from None
        except OSError as error:
            raise ConfigError(f"{where}: {error.strerror}") from None

    def api_key(self) -> str | None:
        """The key to send to this node. Raises ConfigError if the place named holds none."""
        if self.api_key_file is not None:
            return read_secret(self.api_key_file)
        if self.api_key_env is None:
            return None
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            raise ConfigError(
                f"node '{self.id}': the environment variable {self.api_key_env} is empty; "
                "put the node's API key into it"
            )
        return key


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    server: ServerConfig = ServerConfig()
    spool: SpoolConfig = SpoolConfig()
    limits: LimitsConfig = LimitsConfig()
    model: tuple[ModelConfig, ...] = ()
    node: tuple[NodeConfig, ...] = ()
    gpu_class: tuple[GpuClassConfig, ...] = ()
    ray: RayConfig | None = None
    enrolment: EnrolmentConfig | None = None
    redis: RedisConfig | None = None
    ledger: LedgerConfig = LedgerConfig()
    honesty: HonestyConfig = HonestyConfig()
    failover: FailoverConfig = FailoverConfig()
    router: RouterConfig = RouterConfig()
    reputation: ReputationConfig = ReputationConfig()
    canaries: CanariesConfig | None = None
    admin: AdminConfig = AdminConfig()
    console: ConsoleConfig = ConsoleConfig()
    billing: BillingConfig = BillingConfig()
    files: FilesConfig = FilesConfig()
    batches: BatchesConfig = BatchesConfig()
    sla: tuple[SlaConfig, ...] = ()
    quota: tuple[QuotaConfig, ...] = ()
    settlement: SettlementConfig = SettlementConfig()
    oracle: OracleConfig | None = None
    responses: ResponsesConfig = ResponsesConfig()
    solana: SolanaConfig = SolanaConfig()
    log: LogConfig = LogConfig()
    traces: TracesConfig = TracesConfig()

    def at(self, *, port: int | None = None, workers: int | None = None) -> Config:
        """The same on another port, with so many workers. Raises ConfigError."""
        server = msgspec.structs.replace(
            self.server,
            port=self.server.port if port is None else port,
            workers=self.server.workers if workers is None else workers,
        )
        config = msgspec.structs.replace(self, server=server)
        _check_workers(config)
        return config


def load(path: Path) -> Config:
    """Read and judge the file. Raises ConfigError."""
    try:
        text = path.read_text()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        config = parse(text)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return config


def parse(text: str) -> Config:
    """The configuration in this TOML text. Raises ConfigError naming the line."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not valid TOML: {error}") from None
    try:
        config = msgspec.convert(raw, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(_locate(str(error), text) + hint(str(error), Config)) from None
    _check(config)
    return config


def _check_workers(config: Config) -> None:
    workers = config.server.workers
    if workers > 1 and config.redis is None:
        raise ConfigError(
            f"{workers} workers but no [redis]: each would keep limits and budgets for itself, so "
            f"that a key could spend {workers} times what it may. Name a Redis for them to share, "
            '[redis] url_env = "TOLLGATE_REDIS_URL" (or url_file), or take one worker'
        )
    if not config.ledger.in_home and config.redis is None:
        raise ConfigError(
            "[ledger] is a server, so that there may be several gateways on it, but there is no "
            "[redis] for them to share limits and budgets: each would spend every balance by "
            'itself. Name one: [redis] url_env = "TOLLGATE_REDIS_URL" (or url_file)'
        )


def _check(config: Config) -> None:
    """What no single field can tell."""
    models = [model.id for model in config.model]
    if not models:
        raise ConfigError("no [[model]] is configured; add one with id, prices and context")
    _check_workers(config)
    if config.redis is not None:
        config.redis.address()
    config.billing.check()
    config.solana.check()
    price_of_io(config.settlement, config.oracle)
    _refuse_doubles("sla", [sla.name for sla in config.sla])
    for sla in config.sla:
        sla.objective()
    _refuse_doubles("model", models)
    check_quotas(config.quota, models)
    _refuse_doubles("gpu_class", [gpu_class.name for gpu_class in config.gpu_class])
    check_pools(config.model, config.gpu_class)
    _refuse_doubles("node", [node.id for node in config.node])
    for model in config.model:
        model.tariff()
    for node in config.node:
        node.record()
        if node.model not in models:
            raise ConfigError(f"node '{node.id}' serves '{node.model}', which is no [[model]]")


def _base_url(url: str) -> str:
    return url if url.startswith("unix:") else url.removesuffix("/").removesuffix("/v1")


def _refuse_doubles(what: str, ids: list[str]) -> None:
    for name in ids:
        if ids.count(name) > 1:
            raise ConfigError(f"{what} '{name}' is configured twice; ids must be unique")


_UNKNOWN = re.compile(r"unknown field `([^`]+)`")
_LAST_KEY = re.compile(r"\.([A-Za-z_]+)[^.]*`$")


def _locate(message: str, text: str) -> str:
    """Add the line of the key that msgspec complains of, as far as its name tells."""
    match = _UNKNOWN.search(message) or _LAST_KEY.search(message)
    if match:
        key = re.compile(rf"^\s*(\[+\s*)?{re.escape(match[1])}\b")
        for number, line in enumerate(text.splitlines(), start=1):
            if key.match(line):
                return f"line {number} ({line.strip()}): {message}"
    return message
