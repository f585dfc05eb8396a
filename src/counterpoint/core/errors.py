"""The one exception for errors that a user can mend."""


class InputError(Exception):
    """An unusable input; the message is one line: the thing, the rule, the value."""
