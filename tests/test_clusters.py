from counterpoint.arguments.clusters import clusters
from counterpoint.arguments.pairs import Pair


def test_pairs_are_connected_by_debates_and_texts_over_any_number_of_steps():
    pairs = [
        Pair("0", "t", "d", None, "a", "b"),
        Pair("1", "t", "d", None, "c", "e"),  # the first one's debate
        Pair("2", "u", "d", None, "f", "C "),  # a duplicate of the second one's point; its debate has only the name in common
        Pair("3", "u", "x", None, "g", "h"),
        Pair("4", None, None, None, "i", None),
        Pair("5", None, None, None, "j", "G"),
    ]
    cluster = clusters(pairs)
    assert cluster[0] == cluster[1] == cluster[2]
    assert cluster[3] == cluster[5]
    assert sorted(set(cluster)) == [0, 1, 2]
