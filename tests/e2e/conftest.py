"""One `tollgate up` for all end-to-end tests: a Ray head, one vLLM replica, a gateway.

The start of the session is itself a test: an `up` on the same home is killed before it serves, so
that the one under test has a killed predecessor to clean up after. The end is one too: nothing may
be left behind.
"""

import os
from collections.abc import Iterator

import openai
import pytest
from up_stack import Stack, stays_open, wait_until

from serving.free_ports import free_ports, is_free
from serving.ray_node import SHORT_TEMP_DIR


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    outside = _outside()
    home = tmp_path_factory.mktemp("up")
    (home / "ide.toml").write_text(stays_open())
    stack = Stack(home, free_ports(1)[0])
    try:
        wait_until(
            "Ray to run", lambda: "starting the engine" in stack.output, 120.0, lambda: stack.output
        )
        assert len(stack.left()) > 10, "Ray and its guard should be found by their mark"
        stack.kill()
        stack.start_again()
        stack.wait_until_serving()
        yield stack
        assert stack.stop() == 0, stack.output
        assert stack.left() == []
        assert not (stack.home / "up.json").exists()
        assert is_free(stack.port)
        assert _outside() <= outside, "files left outside the home"
    finally:
        if stack.process.poll() is None:
            stack.kill()


@pytest.fixture
def client(stack: Stack) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=stack.base_url, api_key=stack.api_key, max_retries=0) as client:
        yield client


def _outside() -> set[str]:
    """Names that an engine could leave outside its home: shared memory, short socket folders."""
    shared = {name for name in os.listdir("/dev/shm") if not name.startswith("PostgreSQL.")}
    return {*shared, *(path.name for path in SHORT_TEMP_DIR.glob("tg-*"))}
