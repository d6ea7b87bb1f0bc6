"""What a person can mend: told in a readable line, without a stack trace.

Takes nothing; gives the base of such errors.
"""


class UserFault(ValueError):  # noqa: N818 - reads as what it is
    """Input, files or circumstances are at fault, not the code; the message says what to do."""
