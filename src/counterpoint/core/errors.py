"""The one exception for what a user can put right."""


class InputError(Exception):
    """Something given from outside is unusable; the message is one line: the thing, the rule, the value."""
