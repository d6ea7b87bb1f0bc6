"""Settings of the tools that people bring: typed functions, HTTP services, MCP servers. Validated; all off by default.

Takes what is written under `tools` in params.yaml; gives frozen values. Opens nothing: see
`components.tools.own_tools`. A header or a variable of a server's environment may name a secret as `${VARIABLE}`; a
secret itself is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import httpx2
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from components.tools.guard import host_of
from components.tools.own_schema import fault_of_schema
from components.tools.secrets import variables_in

ToolName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")]
"""What a call can name: letters, digits, `_` and `-`, as in OpenAI's format."""
FunctionName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$")]
"""`module:function`."""
_SECRET_KEY = re.compile(r"authori[sz]ation|cookie|token|secret|passw|credential|api.?key|access.?key", re.IGNORECASE)
_SECRET_OPTION = re.compile(
    r"--?(auth(orization)?|(api|access)[-_]?key|([a-z]+[-_])?token|secret|passw(or)?d)(=.*)?", re.IGNORECASE
)
_PATH = re.compile(r"(?:[\w-]+|\[\d+\])(?:\.[\w-]+|\[\d+\])*")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_SET_BY_US = {"host", "content-length", "transfer-encoding", "connection", "accept-encoding"}


def _http_address(url: str) -> str:
    host_of(url)
    for name in httpx2.URL(url).params:
        if _SECRET_KEY.search(name):
            raise ValueError(
                f"must not hold the secret {name!r:.40}: addresses are kept and shown, send it in a header"
            )
    return url


Address = Annotated[str, AfterValidator(_http_address)]
"""An http or https address without user name, password or fragment."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _no_plain_secrets(texts: Mapping[str, str]) -> Mapping[str, str]:
    for name, text in texts.items():
        if _SECRET_KEY.search(name) and not variables_in([text]):
            raise ValueError(f"{name} must name an environment variable, as in ${{MY_KEY}}, and not hold the secret")
    return texts


def _no_secret_options(arguments: tuple[str, ...]) -> tuple[str, ...]:
    for argument in arguments:
        if _SECRET_OPTION.fullmatch(argument):
            name = argument.partition("=")[0]
            raise ValueError(f"{name} would be kept and shown with the parameters: give the secret through `env`")
    return arguments


def _sendable(headers: Mapping[str, str]) -> Mapping[str, str]:
    for name, text in headers.items():
        if not _HEADER.fullmatch(name) or name.lower() in _SET_BY_US:
            raise ValueError(f"{name!r:.40} is no header that can be set")
        if not text.isascii() or not text.isprintable():
            raise ValueError(f"the value of {name} must be one line of ASCII")
    return headers


SecretTexts = Annotated[Mapping[str, str], AfterValidator(_no_plain_secrets)]
Headers = Annotated[SecretTexts, AfterValidator(_sendable)]


class FunctionDefinition(_Strict):
    """A function tool as OpenAI's format writes it."""

    name: ToolName
    description: str = Field(min_length=1)
    parameters: dict[str, Any]
    """JSON schema of the arguments object."""
    strict: bool = True
    """Taken for compatibility; arguments always follow the schema."""

    @field_validator("parameters")
    @classmethod
    def _usable(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        fault = fault_of_schema(parameters)
        if fault is not None:
            raise ValueError(fault)
        return parameters


class HttpToolSettings(_Strict):
    """A tool behind one HTTP address."""

    function: FunctionDefinition
    """What the policy sees."""
    url: Address
    """Its host is the only one that is asked; arguments never change it."""
    method: Literal["GET", "POST"] = "POST"
    """POST sends the arguments as a JSON body, GET as query parameters."""
    headers: Headers = {}
    """Sent with every call; a secret as `${VARIABLE}`."""
    result: str | None = None
    """Path of the result inside a JSON answer, e.g. `current.items[0].text`; null takes the whole text."""
    content_types: tuple[str, ...] = Field(default=("application/json", "text/plain"), min_length=1)
    """Kinds of answers that are read."""
    max_bytes: int = Field(default=2**20, ge=1, le=2**26)
    """Size of an answer from which on it is refused."""
    version: str = "1"
    """To be changed when the service starts to answer differently, so that remembered results are not used again."""

    @field_validator("result")
    @classmethod
    def _readable_path(cls, path: str | None) -> str | None:
        if path is not None and not _PATH.fullmatch(path):
            raise ValueError("must be a path such as current.items[0].text")
        return path


class McpServerSettings(_Strict):
    """An MCP server: a command that speaks over its standard streams, or an address of streamable HTTP."""

    command: str | None = Field(default=None, min_length=1)
    args: Annotated[tuple[str, ...], AfterValidator(_no_secret_options)] = ()
    """Kept with the parameters and seen by everybody on the machine: no secrets."""
    env: SecretTexts = {}
    """Added to the few variables that a server inherits; a secret as `${VARIABLE}`."""
    url: Address | None = None
    headers: Headers = {}
    only: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Names of the tools that are used, as the server names them; null uses all."""
    rename: Mapping[str, ToolName] = {}
    """Server's name to the name that the policy sees."""
    version: str = "1"
    """To be changed when the server starts to answer differently."""

    @model_validator(mode="after")
    def _one_way(self) -> McpServerSettings:
        if (self.command is None) == (self.url is None):
            raise ValueError("must have either `command` or `url`")
        if self.url is not None and (self.args or self.env):
            raise ValueError("`args` and `env` belong to a `command`")
        if self.command is not None and self.headers:
            raise ValueError("`headers` belong to a `url`")
        return self

    def secrets(self) -> Mapping[str, str]:
        """The texts that may name variables."""
        return self.headers if self.command is None else self.env


class OwnToolSettings(_Strict):
    """Tools beside `search` and `python`; each must have its line in the price sheet."""

    functions: tuple[FunctionName, ...] = ()
    """Functions with the decorator `tool`, as `own.units:convert`: from the folder `own`, or a package named below.

    Naming a function imports its module: its code runs with all rights of this process, as if you had started it.
    """
    packages: tuple[str, ...] = ()
    """Installed packages from which functions may be taken."""
    http: tuple[HttpToolSettings, ...] = ()
    """Services that take one request a call."""
    mcp: Mapping[str, McpServerSettings] = {}
    """MCP servers under names of your own. A command is a program that runs with your rights."""
    result_tokens: int = Field(default=64, ge=4, le=4096)
    """Budget of the text of one result that the policy reads."""

    def variables(self) -> tuple[str, ...]:
        """Environment variables whose values the tools need."""
        texts = [*(tool.headers for tool in self.http), *(server.secrets() for server in self.mcp.values())]
        return variables_in(text for some in texts for text in some.values())
