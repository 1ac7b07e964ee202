"""What schemathesis is told beside the contract.

The model that is served: it makes names up, so that nearly every request would end at 404. A name
that is a string is replaced, whatever else is wrong with the request: by the contract any string is
a good one.

A good request for a response has a model and an input, neither of which the contract requires.

Streams: it hardly makes any. Every other good request that does not say is made one.
"""

import itertools
import os

import schemathesis
from schemathesis import GenerationMode

MODEL = os.environ["TOLLGATE_CONTRACT_MODEL"]
STREAMED = {"/chat/completions", "/completions", "/responses"}

_turns = itertools.count()


@schemathesis.hook
def before_call(context, case, kwargs):
    body = case.body
    if not isinstance(body, dict):
        return
    good = case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE
    if good and case.path == "/responses":
        body.setdefault("model", MODEL)
        body.setdefault("input", "hi there")
    if isinstance(body.get("model"), str):
        body["model"] = MODEL
    if good and case.path in STREAMED and "stream" not in body and next(_turns) % 2:
        body["stream"] = True
