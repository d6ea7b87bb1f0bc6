"""How many requests are let in. Takes them as they come; refuses those that would have to wait too long (429)."""

from __future__ import annotations

from components.serving.errors import Refused


class Admission:
    """A counter, for one event loop."""

    def __init__(self, *, concurrent: int, waiting: int) -> None:
        self._concurrent, self._most = concurrent, concurrent + waiting
        self.inside = 0
        self.draining = False
        """Whether the server is about to end."""
        self._seconds = 1.0
        """What an answer took lately."""

    def enter(self) -> None:
        """One request more.

        Raises:
            Refused: there are too many, or the server is about to end.
        """
        if self.draining:
            raise Refused(503, "the server is shutting down", code="shutting_down", retry_after=5.0)
        if self.inside >= self._most:
            raise Refused(
                429,
                f"{self.inside} requests are under way: try again later",
                code="too_many_requests",
                retry_after=self._seconds * max(1.0, self.inside / self._concurrent - 1),
            )
        self.inside += 1

    def leave(self, seconds: float) -> None:
        """One request less, which took so long."""
        self.inside -= 1
        self._seconds += 0.1 * (seconds - self._seconds)
