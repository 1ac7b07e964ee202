"""The one file that imports vLLM: arguments in, engine and HTTP app out.

vLLM moves these functions between releases; this is vLLM 0.32's place for them.
"""

import argparse
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

TOOL_WHITESPACE_MAX = 1
"""Between two tokens of a tool call's arguments; `json.dumps` writes one after comma and colon."""


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    """vLLM's own parsing of its server arguments; exits with its message when they are wrong."""
    from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    args: argparse.Namespace = make_arg_parser(FlexibleArgumentParser()).parse_args(list(argv))
    validate_parsed_serve_args(args)
    return args


def start_engine(args: argparse.Namespace) -> Any:
    """Starts the engine's processes and waits for them; returns the `AsyncLLM`."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    bound_whitespace()
    config = AsyncEngineArgs.from_cli_args(args).create_engine_config()
    return AsyncLLM.from_vllm_config(
        vllm_config=config, enable_log_requests=False, disable_log_stats=False
    )


async def build_asgi_app(engine: Any, args: argparse.Namespace) -> Any:
    """vLLM's own OpenAI app over a running engine."""
    from vllm.entrypoints.launchers.api_server.app_state import init_app_state
    from vllm.entrypoints.launchers.app import build_app

    tasks = await engine.get_supported_tasks()
    app = build_app(args, tasks, engine.model_config)
    await init_app_state(engine, app.state, args, tasks)
    app.state.server = SimpleNamespace()  # vLLM's server would be here; its error handler asks it
    return app


def run_server() -> None:
    """vLLM's own API server, with the arguments of this process."""
    from vllm.entrypoints.launchers.api_server.entry import main

    bound_whitespace()
    main()


def bound_whitespace() -> None:
    """JSON that is made to a schema, and tools' arguments, hold hardly any whitespace.

    JSON allows any amount of it everywhere, and so do vLLM's grammars: a model that is unsure may
    write nothing else until its tokens are used up, and the client is left with half an object.
    vLLM has an option for this, but only together with one named backend, which would refuse the
    schemas (`multipleOf` is one) that vLLM hands to another; and none for tool calls.
    """
    from vllm.engine.arg_utils import EngineArgs
    from xgrammar.structural_tag import JSONSchemaFormat

    create = EngineArgs.create_engine_config

    def create_compact(self: Any, *args: Any, **options: Any) -> Any:
        config = create(self, *args, **options)
        config.structured_outputs_config.disable_any_whitespace = True
        return config

    EngineArgs.create_engine_config = create_compact
    JSONSchemaFormat.model_fields["max_whitespace_cnt"].default = TOOL_WHITESPACE_MAX
    JSONSchemaFormat.model_rebuild(force=True)
