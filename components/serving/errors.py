"""What a client is told when it gets no answer, in OpenAI's error form. Takes a reason; gives an exception."""

from __future__ import annotations

from typing import Any


class Refused(Exception):  # noqa: N818 - says what happened
    """A request that is not answered; the message is for the client."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str,
        param: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.retry_after = retry_after
        """Seconds after which another try may succeed."""

    def body(self) -> dict[str, Any]:
        """OpenAI's error object."""
        error = {"message": self.message, "type": kind_of(self.status), "param": self.param, "code": self.code}
        return {"error": error}

    def headers(self) -> dict[str, str]:
        """Headers that go with it."""
        return {} if self.retry_after is None else {"Retry-After": str(max(1, round(self.retry_after)))}


def kind_of(status: int) -> str:
    """OpenAI's type of error for a status."""
    kinds = {401: "authentication_error", 429: "rate_limit_error", 503: "service_unavailable", 504: "timeout_error"}
    return kinds.get(status, "invalid_request_error" if status < 500 else "server_error")


def bad(message: str, *, param: str | None = None, code: str = "invalid_value") -> Refused:
    """The user's mistake."""
    return Refused(400, message, code=code, param=param)
