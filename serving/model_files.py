"""A model on disk: where it is, what it is. Hub ids are downloaded first."""

import json
from pathlib import Path

from serving.engine_spec import ModelFacts, describe_model

DEMO_MODEL = Path(__file__).with_name("demo_model")
DEMO_MODEL_NAME = "tollgate-demo"
_HUB_FILES = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt", "*.tiktoken")


class ModelError(Exception):
    """The model cannot be used; the message says which file or id and what to do."""


def resolve_model(model: str) -> Path:
    """The directory of `model`, a local path or a hub id, downloading it when needed.

    Raises `ModelError`. A download shows its own progress bars on stderr and goes to the shared
    Hugging Face cache, so that it happens once.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        return path.resolve()
    if model.count("/") != 1 or model.startswith((".", "/", "~")):
        raise ModelError(f"model {model!r}: no such directory, and not a hub id (OWNER/NAME)")
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError as error:
        raise ModelError(
            f"model {model!r} is a hub id, but huggingface_hub is not installed; "
            "pip install huggingface_hub, or give a local directory"
        ) from error
    try:
        return Path(snapshot_download(model, allow_patterns=list(_HUB_FILES)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"model {model!r} cannot be downloaded: {reason}") from error


def read_facts(directory: Path) -> ModelFacts:
    """What config.json of the model says. Raises `ModelError`."""
    path = directory / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}); is this a model?") from error
    except ValueError as error:
        raise ModelError(f"{path} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise ModelError(f"{path} must hold a JSON object")
    try:
        return describe_model(config)
    except ValueError as error:
        raise ModelError(f"{path}: {error}") from error


def model_name(model: str, directory: Path) -> str:
    """The public name: a hub id as it is, a directory by its own name."""
    if directory == DEMO_MODEL.resolve():
        return DEMO_MODEL_NAME
    return model if not Path(model).expanduser().is_dir() else directory.name
