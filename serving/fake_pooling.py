"""What a fake node answers where nothing is generated: vectors and scores made of the texts."""

from array import array
from base64 import b64encode
from random import Random
from typing import Any
from zlib import crc32

from serving import vllm_wire
from serving.simulated_engine import tokenize
from serving.vllm_request import check_model, read_pairs, read_texts
from serving.vllm_wire import Answer, Json

EMBEDDING_SIZE = 8

POOLING = {
    "/v1/embeddings": "embd",
    "/rerank": "rerank",
    "/v1/rerank": "rerank",
    "/v2/rerank": "rerank",
    "/score": "score",
    "/v1/score": "score",
}
"""Routes, and how the ids of their answers begin."""


def pool(path: str, asked: Json, answer: Answer) -> tuple[Json, int]:
    """The answer, and the tokens of its prompts. Raises `RefusedError`."""
    check_model(asked, answer.model)
    if path == "/v1/embeddings":
        return _embeddings(asked, answer)
    pairs = read_pairs(asked, rerank=path.endswith("rerank"))
    tokens = sum(len(tokenize(one)) + len(tokenize(other)) for one, other in pairs)
    scores = [crc32(f"{one}\0{other}".encode()) / 2**32 for one, other in pairs]
    if path.endswith("rerank"):
        texts = [other for _, other in pairs]
        return vllm_wire.reranking(answer, texts, scores, asked.get("top_n") or 0, tokens), tokens
    return vllm_wire.scores(answer, scores, tokens), tokens


def _embeddings(asked: Json, answer: Answer) -> tuple[Json, int]:
    texts = read_texts(asked, answer.model)
    vectors = [
        array("f", Random(crc32(text.encode())).choices((-1, -0.5, 0.5, 1), k=EMBEDDING_SIZE))
        for text in texts
    ]
    as_base64 = asked.get("encoding_format") == "base64"
    shown: list[Any] = [
        b64encode(v.tobytes()).decode() if as_base64 else v.tolist() for v in vectors
    ]
    tokens = sum(len(tokenize(text)) for text in texts)
    return vllm_wire.embeddings(answer, shown, tokens), tokens
