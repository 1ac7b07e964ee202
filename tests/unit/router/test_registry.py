import pytest

from router.registry import Registry, RegistryChange
from router.types import NodeRecord


def record(node_id: str, port: int = 1) -> NodeRecord:
    return NodeRecord(
        node_id=node_id, supplier_id="s", url=f"http://h:{port}", model="m", capacity=1
    )


def test_a_source_replaces_its_own_records_only() -> None:
    registry = Registry()
    assert registry.update("ray", [record("a"), record("b")]).added == ("a", "b")
    registry.update("static", [record("c")])
    change = registry.update("ray", [record("a", port=2), record("d")])
    assert change == RegistryChange(added=("d",), changed=("a",), removed=("b",))
    assert set(registry.nodes) == {"a", "c", "d"}
    assert registry.nodes["a"].url == "http://h:2"


def test_the_same_list_again_is_no_change() -> None:
    registry = Registry()
    registry.update("ray", [record("a")])
    version = registry.version
    assert not registry.update("ray", [record("a")])
    assert registry.version == version


def test_an_id_stays_with_the_source_that_listed_it_first() -> None:
    registry = Registry()
    registry.update("static", [record("a", port=1)])
    change = registry.update("self-registered", [record("a", port=666)])
    assert not change
    assert change.shadowed == ("a",)
    assert registry.nodes["a"].url == "http://h:1"

    assert registry.update("static", []).changed == ("a",)
    assert registry.nodes["a"].url == "http://h:666"
    assert registry.update("static", [record("a", port=1)]).shadowed == ("a",)
    assert registry.update("self-registered", []).changed == ("a",)
    assert registry.nodes["a"].url == "http://h:1"


def test_one_source_may_not_list_an_id_twice() -> None:
    registry = Registry()
    registry.update("ray", [record("a")])
    with pytest.raises(ValueError, match=r"'ray' lists node_id 'b' twice .*h:1 and http://h:2"):
        registry.update("ray", [record("b", 1), record("b", 2)])
    assert set(registry.nodes) == {"a"}, "a refused update changes nothing"
