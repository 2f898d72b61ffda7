"""What the stack says in plain words to the person who started it."""


class StackError(Exception):
    """The stack cannot do what was asked; the text says why and what to do."""
