"""What can be asked of what was made: the contract has no links, and nobody guesses an id."""

from __future__ import annotations

from typing import Any

MADE_BY = {
    "createResponse": (
        "response_id",
        ("getResponse", "listInputItems", "cancelResponse", "deleteResponse"),
    ),
    "createFile": ("file_id", ("retrieveFile", "downloadFile", "deleteFile")),
    "createBatch": ("batch_id", ("retrieveBatch", "cancelBatch")),
}
_ID = "$response.body#/id"


def link(contract: dict[str, Any]) -> None:
    """Put the links into a contract."""
    made = {
        operation.get("operationId"): operation["responses"]["200"]
        for operations in contract["paths"].values()
        for operation in operations.values()
        if isinstance(operation, dict)
    }
    for maker, (parameter, askers) in MADE_BY.items():
        made[maker]["links"] = {
            asker: {"operationId": asker, "parameters": {parameter: _ID}} for asker in askers
        }
    made["createFile"]["links"]["createBatch"] = {
        "operationId": "createBatch",
        "requestBody": {
            "input_file_id": _ID,
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
        },
    }
