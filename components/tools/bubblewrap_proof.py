"""Whether the bubblewrap sandbox holds on this machine, found out by programs that try to break it.

Takes nothing; gives None, or what is missing or gave way, in words. An installed `bwrap` proves nothing: namespaces may
be switched off, and root is above limits on processes. So canaries run in the very sandbox that snippets get: one tries
every way out and names those that worked, one switches its alarm off and loops. Run once, when the tool is opened.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

from components.tools.bubblewrap import Run, missing_program, run_sandboxed
from components.tools.settings import PythonLimits

_LIMITS = PythonLimits(seconds=1.0, memory_bytes=16 * 2**20)
_LOOP_LIMITS = PythonLimits(seconds=0.1, memory_bytes=16 * 2**20)
_CANARY = """\
import os, socket
from os import environ
open_ways = []
def way_out(name):
    def attempt(way):
        try:
            if way() is not False:
                open_ways.append(name)
        except (OSError, MemoryError, ImportError):
            pass
    return attempt
@way_out("it read /etc/passwd")
def read_a_file(): open("/etc/passwd").close()
@way_out("it read the project's files")
def read_the_project(): open(PROJECT_FILE).close()
@way_out("it saw other processes")
def see_processes(): os.listdir("/proc")
@way_out("it wrote a file")
def write_a_file(): open("/written", "w").close()
@way_out("it wrote to /tmp")
def write_to_tmp(): open("/tmp/written", "w").close()
@way_out("it reached a server on this machine")
def reach_a_server(): socket.create_connection(("127.0.0.1", PORT), 0.2).close()
@way_out("it saw the environment")
def see_the_environment(): return bool(set(environ) - {"PYTHONHASHSEED", "PWD", "LC_CTYPE"})
@way_out("it started a process")
def start_a_process():
    child = os.fork()
    if child == 0:
        os._exit(0)
@way_out("it is root")
def be_root(): os.setuid(0); os.mkdir("/made")
@way_out("it took more memory than it may")
def take_memory(): bytearray(256 * 2**20)
", ".join(open_ways) or "none"
"""
_LOOP = "import signal\nsignal.setitimer(signal.ITIMER_REAL, 0)\nwhile True: pass"


def why_not_proven(run: Callable[[bytes, PythonLimits], Run] = run_sandboxed) -> str | None:
    """What keeps model-written code from being run in bubblewrap here; None when it was tried and held."""
    missing = missing_program()
    if missing is not None:
        return f"the program {missing} is not installed"
    with socket.create_server(("127.0.0.1", 0)) as server:
        known = {"PROJECT_FILE": repr(str(Path(__file__).resolve())), "PORT": str(server.getsockname()[1])}
        canary = _CANARY
        for name, value in known.items():
            canary = canary.replace(name, value)
        told = run(canary.encode(), _LIMITS)
    if told.status != 0:
        return f"the canary could not run: {told.fault or f'status {told.status}'}"
    if told.output != "none":
        return f"the canary got out: {told.output}"
    return None if run(_LOOP.encode(), _LOOP_LIMITS).timed_out else "a loop was not stopped"
