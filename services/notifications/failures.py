"""Why a message could not be sent."""


class Failure(Exception):  # noqa: N818  # the base of errors, and a wrapper of foreign ones
    """What went wrong, in words of ours (`what`: for logs), and what others said of it, who may quote the message.

    `for_good` where another try cannot help.
    """

    def __init__(self, what: str, words: str = "", *, for_good: bool = False):
        super().__init__(f"{what} {words}".rstrip())
        self.what = what
        self.for_good = for_good


def failure(error: Exception) -> Failure:
    """An error as a Failure; one of a library, or of ours, is not for good, because bugs are mended."""
    return error if isinstance(error, Failure) else Failure(type(error).__name__, str(error))
