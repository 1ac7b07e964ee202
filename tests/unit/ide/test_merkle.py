from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ide.merkle import EMPTY, GrowingRoot, MerkleTree, leaf_hash, node_hash, root_of_path

RFC_6962_LEAVES = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]
RFC_6962_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
"""Of Certificate Transparency's own reference tests: the roots of its first 1 to 8 leaves."""

leaves_of_trees = st.lists(st.binary(max_size=8), max_size=70).map(
    lambda datas: [leaf_hash(data) for data in datas]
)


def recursive_root(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, as it is written there."""
    if not leaves:
        return EMPTY
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(recursive_root(leaves[:split]), recursive_root(leaves[split:]))


def test_the_roots_are_those_of_certificate_transparency() -> None:
    leaves = [leaf_hash(bytes.fromhex(data)) for data in RFC_6962_LEAVES]
    roots = [MerkleTree(leaves[:count]).root.hex() for count in range(1, 9)]
    assert roots == RFC_6962_ROOTS
    assert MerkleTree([]).root.hex().startswith("e3b0c44298fc1c14")


@given(leaves_of_trees)
def test_levels_growth_and_definition_give_one_root(leaves: list[bytes]) -> None:
    growing = GrowingRoot()
    for leaf in leaves:
        growing.add(leaf)
    assert MerkleTree(leaves).root == growing.root == recursive_root(leaves)
    assert growing.leaves == len(leaves)


@given(leaves_of_trees.filter(bool), st.data())
def test_every_path_leads_to_the_root_and_no_other_does(
    leaves: list[bytes], data: st.DataObject
) -> None:
    tree = MerkleTree(leaves)
    index = data.draw(st.integers(0, len(leaves) - 1))
    leaf, path = leaves[index], tree.path(index)
    assert root_of_path(leaf, index, len(leaves), path) == tree.root
    assert root_of_path(leaf_hash(b"another"), index, len(leaves), path) != tree.root
    assert root_of_path(leaf, index, len(leaves), [*path, tree.root]) is None
    if path:
        assert root_of_path(leaf, index, len(leaves), path[:-1]) is None
        bent = [node_hash(path[0], path[0]), *path[1:]]
        assert root_of_path(leaf, index, len(leaves), bent) != tree.root


def test_the_root_of_a_subtree_is_no_leaf() -> None:
    leaves = [leaf_hash(data) for data in (b"a", b"b", b"c", b"d")]
    tree = MerkleTree(leaves)
    pair = leaves[0] + leaves[1]
    assert root_of_path(leaf_hash(pair), 0, 2, [tree.path(0)[1]]) != tree.root


@pytest.mark.parametrize(("index", "leaves"), [(-1, 3), (3, 3), (0, 0)])
def test_a_leaf_that_is_not_there(index: int, leaves: int) -> None:
    assert root_of_path(leaf_hash(b"a"), index, leaves, []) is None
    with pytest.raises(IndexError):
        MerkleTree([leaf_hash(b"a")] * leaves).path(index)
