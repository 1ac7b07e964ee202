"""Ask a running vLLM the cases of cases.json (all, or those named) and keep its answers beside it.

    python tests/golden/vllm-0.32/capture.py http://127.0.0.1:8000 [CASE ...]

The model must be served as `tiny`. An answer is kept as CASE.STATUS.json or CASE.STATUS.sse.
"""

import http.client
import json
import sys
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(__file__).parent
LONG = "word " * 3000


def ask(host: str, case: dict) -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection(host, timeout=60)
    body = case.get("raw") or (json.dumps(case["body"]) if "body" in case else "")
    headers = {"content-type": "application/json"} if body else {}
    connection.request(
        "POST" if body else "GET", case["path"], body.replace("$LONG", LONG) or None, headers
    )
    answer = connection.getresponse()
    kind = "sse" if "event-stream" in answer.headers["content-type"] else "json"
    return answer.status, kind, answer.read()


def main(url: str, *names: str) -> None:
    cases = json.loads((HERE / "cases.json").read_text())
    for name in names or cases:
        for old in HERE.glob(f"{name}.*.*"):
            old.unlink()
        status, kind, body = ask(urlsplit(url).netloc, cases[name])
        (HERE / f"{name}.{status}.{kind}").write_bytes(body)


if __name__ == "__main__":
    main(*sys.argv[1:])
