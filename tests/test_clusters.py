from counterpoint.arguments.clusters import clusters
from counterpoint.arguments.pairs import Pair


def test_pairs_hang_together_by_debate_and_by_text_at_whatever_remove():
    pairs = [
        Pair("0", "t", "d", None, "a", "b"),
        Pair("1", "t", "d", None, "c", "e"),  # the first one's debate
        Pair("2", "u", "d", None, "f", "C "),  # a twin of the second one's point; its debate has only the name in common
        Pair("3", "u", "x", None, "g", "h"),
        Pair("4", None, None, None, "i", None),
        Pair("5", None, None, None, "j", "G"),
    ]
    of = clusters(pairs)
    assert of[0] == of[1] == of[2]
    assert of[3] == of[5]
    assert sorted(set(of)) == [0, 1, 2]
