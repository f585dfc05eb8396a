"""What counts as the same text, in one place for splits, draws and ranks."""


def text_key(text: str) -> str:
    """What makes two texts twins: equal when white space is collapsed and letters are lower case."""
    return " ".join(text.lower().split())
