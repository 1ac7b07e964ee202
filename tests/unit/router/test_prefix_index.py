from router.prefix_index import PrefixIndex


def test_the_longest_match_comes_first_and_counts_whom_it_counts() -> None:
    index = PrefixIndex()
    index.add(0, (1, 2, 3, 4))
    index.add(3, (1, 2))
    assert index.matches((1, 2, 3, 9)) == ((3, 0b0001), (2, 0b1001))
    assert index.matches((1, 2)) == ((2, 0b1001),)
    assert index.matches((9, 1)) == ()
    assert index.matches(()) == ()


def test_nodes_that_have_all_of_a_prompt_hide_none_that_have_a_part() -> None:
    index = PrefixIndex()
    index.add(0, (1, 2, 3))
    index.add(1, (1, 2, 3))
    assert index.matches((1, 2, 3)) == ((3, 0b011),)
    index.add(2, (1, 2))
    assert index.matches((1, 2, 3)) == ((3, 0b011), (2, 0b111))


def test_a_block_in_the_middle_does_not_count_without_those_before() -> None:
    index = PrefixIndex()
    index.add(0, (1, 2))
    index.add(1, (7, 2))
    assert index.matches((1, 2)) == ((2, 0b01),)


def test_the_end_of_the_oldest_prompt_is_forgotten_first() -> None:
    index = PrefixIndex()
    index.add(0, (1, 2, 3), blocks_max=4)
    index.add(0, (8, 9), blocks_max=4)
    assert index.count == 4
    assert index.matches((1, 2, 3)) == ((2, 1),)
    assert index.matches((8, 9)) == ((2, 1),)


def test_all_nodes_together_are_bounded() -> None:
    index = PrefixIndex(blocks_max=10)
    for slot in range(5):
        index.add(slot, tuple(range(slot * 100, slot * 100 + 50)))
        index.add(slot, (1, 2, 3))
    for slot in range(5):
        index.add(slot, (7,))
    assert index.count == 10


def test_a_cache_that_is_gone_is_forgotten_whole() -> None:
    index = PrefixIndex()
    index.add(0, (1, 2))
    index.add(1, (1,))
    index.forget(0)
    index.forget(5)
    assert index.count == 1
    assert index.matches((1, 2)) == ((1, 0b10),)
