"""One run of real CPython in a bubblewrap sandbox: new namespaces, an empty read-only root, hard limits.

Takes code and limits; gives how it ended and what it wrote. The program sees Python's own libraries, read-only, and
nothing else: no other file, no place to write, no network, no environment, no other process; it cannot start one
either. Under root it becomes a user without rights before it starts, for root is above limits on processes. Time is
stopped twice: by an alarm inside, and by us where the program switched the alarm off. Decides nothing about errors and
does not know whether any of this works on this machine: see `components.tools.bubblewrap_proof`.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from components.tools.settings import PythonLimits

_PLACES = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are looked for; a PATH that somebody set could name other ones."""
_NOBODY = "65534"
_INTERPRETER_BYTES = 64 * 2**20
"""Address space of an interpreter that does nothing, rounded up; the snippet's own limit comes on top."""
GRACE = 1.5
"""Seconds past the limit (start of the interpreter included) after which we end the sandbox ourselves."""
_ALARM = 128 + 14
_CPU_OVER = (128 + 24, 128 + 9)
"""Statuses of a program that was stopped by its alarm, or by the limit of processor time."""
_RUNNER = """\
import ast, os, random, signal, sys
sys.setrecursionlimit(DEPTH)
random.seed(0)
signal.setitimer(signal.ITIMER_REAL, SECONDS)
try:
    tree = ast.parse(sys.stdin.buffer.read().decode("utf-8"), "<snippet>")
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    names = {"__name__": "__main__"}
    exec(compile(tree, "<snippet>", "exec"), names)
    value = None if last is None else eval(compile(ast.Expression(last.value), "<snippet>", "eval"), names)
    if value is not None:
        sys.stdout.write(f"{value}\\n")
    sys.stdout.flush()
except BaseException as error:
    try:
        reason = f"{type(error).__name__}: {error}"
    except BaseException:
        reason = type(error).__name__
    os.write(2, " ".join(reason.split()).encode("utf-8", "replace")[:400])
    os._exit(1)
os._exit(0)
"""


@dataclass(frozen=True, slots=True)
class Run:
    """How a program ended."""

    status: int
    """0 when it came to its end; 1 after an exception; anything else when it was stopped."""
    output: str
    """What it printed, then its last value."""
    fault: str
    """The exception in one line, or what the sandbox itself complained of."""
    timed_out: bool
    overflowed: bool
    """True when it wrote more than it may."""


def missing_program() -> str | None:
    """A program that the sandbox needs and this machine lacks."""
    needed = ["bwrap", "prlimit", *(["setpriv"] if os.geteuid() == 0 else [])]
    return next((name for name in needed if shutil.which(name, path=_PLACES) is None), None)


def run_sandboxed(source: bytes, limits: PythonLimits) -> Run:
    """Run one program in the sandbox; ask `missing_program` first."""
    return run_under(sandbox_command(limits), source, limits)


def run_under(command: Sequence[str], source: bytes, limits: PythonLimits) -> Run:
    """Run one program by a command that reads it from its standard input; ended when its time is over."""
    with _memory_file(source) as code, _memory_file() as output, _memory_file() as fault:
        process = subprocess.Popen(command, stdin=code, stdout=output, stderr=fault, env={}, cwd="/")
        try:
            status, timed_out = process.wait(limits.seconds + GRACE), False
        except subprocess.TimeoutExpired:
            status, timed_out = -1, True
        finally:
            process.kill()  # all of the sandbox dies with its first process
            process.wait()
        written = _content(output, limits.output_bytes)
        return Run(
            status,
            written,
            _content(fault, limits.output_bytes),
            timed_out=timed_out or status == _ALARM or status in _CPU_OVER,
            overflowed=os.fstat(output).st_size >= limits.output_bytes,
        )


def sandbox_command(limits: PythonLimits) -> list[str]:
    """What is started: the walls, then the loss of rights, then the limits, then the interpreter."""
    return [*_walls(), *_without_rights(), *_limited(limits), *snippet_command(limits)]


def snippet_command(limits: PythonLimits) -> list[str]:
    """The interpreter and the program around a snippet, which it reads from standard input: no sandbox by itself."""
    runner = _RUNNER.replace("DEPTH", str(limits.recursion_depth)).replace("SECONDS", repr(limits.seconds))
    return [str(_interpreter()), "-s", "-S", "-P", "-B", "-c", runner]


def _walls() -> list[str]:
    places = _visible()
    # made by itself, a folder above a file would be closed to all but root
    folders = dict.fromkeys(str(folder) for place in places for folder in reversed(place.parents))
    shown = [argument for folder in folders for argument in ("--dir", folder)]
    shown += [argument for place in places for argument in ("--ro-bind", str(place), str(place))]
    alone = [*_namespaces(), "--die-with-parent", "--new-session", "--clearenv"]
    return [_program("bwrap"), *alone, "--setenv", "PYTHONHASHSEED", "0", *shown, "--remount-ro", "/", "--chdir", "/"]


def _namespaces() -> list[str]:
    """All of them; root needs none of users, and keeps just what it takes to become somebody else."""
    if os.geteuid() != 0:
        return ["--unshare-all", "--cap-drop", "ALL"]
    apart = ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    return [*apart, "--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]


def _without_rights() -> list[str]:
    if os.geteuid() != 0:
        return []
    return [_program("setpriv"), "--reuid", _NOBODY, "--regid", _NOBODY, "--clear-groups", "--no-new-privs", "--"]


def _limited(limits: PythonLimits) -> list[str]:
    most = {
        "as": _INTERPRETER_BYTES + limits.memory_bytes,
        "cpu": math.ceil(limits.seconds) + 1,
        "nproc": 1,
        "fsize": limits.output_bytes,
        "nofile": 32,
        "core": 0,
    }
    return [_program("prlimit"), *(f"--{name}={value}" for name, value in most.items()), "--"]


def _visible() -> list[Path]:
    """The interpreter, its library, and the shared libraries of the system: of programs, those that start it."""
    programs = [_interpreter(), *(Path(words[0]) for words in (_limited(PythonLimits()), _without_rights()) if words)]
    wanted = [*programs, Path(sysconfig.get_path("stdlib")), *_shared_libraries()]
    return [place for place in wanted if place.exists()]


def _shared_libraries() -> list[Path]:
    own = sysconfig.get_config_var("LIBDIR")
    named = sysconfig.get_config_var("INSTSONAME")
    libraries = [Path(own) / named] if own and named and str(named).endswith((".so", ".so.1.0")) else []
    return [*libraries, Path("/lib"), Path("/lib64"), Path("/usr/lib"), Path("/etc/ld.so.cache")]


def _interpreter() -> Path:
    """The interpreter itself, not the link that a virtual environment has."""
    return Path(sys.executable).resolve()


def _program(name: str) -> str:
    found = shutil.which(name, path=_PLACES)
    assert found is not None, f"{name} is not installed: ask `missing_program` first"
    return found


@contextmanager
def _memory_file(content: bytes = b"") -> Iterator[int]:
    """A file in memory: unlike a pipe it can be limited by `fsize`, and nobody has to read along."""
    descriptor = os.memfd_create("qanat")
    try:
        os.write(descriptor, content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


def _content(descriptor: int, most: int) -> str:
    return os.pread(descriptor, most, 0).decode("utf-8", "replace").strip()
