import msgspec
import pytest

from router.types import Condition, NodeRecord, NodeState, NodeView

GOOD = {
    "node_id": "a/1#x",
    "supplier_id": "acme",
    "url": "http://127.0.0.1:8000",
    "model": "m",
    "capacity": 4,
}


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("node_id", "", "1 to 200 printable"),
        ("node_id", "a b", "no spaces"),
        ("node_id", "x" * 201, "1 to 200"),
        ("supplier_id", "Acme", "ledger account"),
        ("supplier_id", "a:b", "ledger account"),
        ("url", "127.0.0.1:8000", "must start with http://"),
        ("model", "", "model is empty"),
        ("capacity", 0, "set its state to 'draining'"),
    ],
)
def test_a_bad_field_is_refused_with_what_to_do(field: str, value: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        NodeRecord(**{**GOOD, field: value})
    with pytest.raises(msgspec.ValidationError, match=said):
        msgspec.convert({**GOOD, field: value}, NodeRecord)


def test_a_good_record_survives_json() -> None:
    record = NodeRecord(**GOOD, served_model="org/m", state=NodeState.DRAINING)
    assert msgspec.json.decode(msgspec.json.encode(record), type=NodeRecord) == record


@pytest.mark.parametrize(
    ("state", "ejections", "now_ns", "condition"),
    [
        (NodeState.READY, 0, 5, Condition.READY),
        (NodeState.READY, 1, 9, Condition.EJECTED),
        (NodeState.READY, 1, 10, Condition.HALF_OPEN),
        (NodeState.DRAINING, 1, 9, Condition.DRAINING),
    ],
)
def test_condition(state: NodeState, ejections: int, now_ns: int, condition: Condition) -> None:
    record = NodeRecord(**GOOD, state=state)
    view = NodeView(node=record, ejections=ejections, ejected_until_ns=10 if ejections else 0)
    assert view.condition(now_ns) is condition
