"""How a worker ends whose parent has died."""

from __future__ import annotations

import socket
import subprocess
import sys

from simulator.system.worker import Channel

#: a worker whose answer takes until a line comes in
WAITS = """
import sys
from simulator.system.worker import serve
serve(int(sys.argv[1]), lambda message, tensors: (sys.stdin.readline(), {}))
"""


def test_a_worker_whose_parent_dies_while_it_is_at_work_ends_quietly() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        worker = subprocess.Popen(
            [sys.executable, "-c", WAITS, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    parent = Channel(ours)
    parent.send({})
    parent.close()
    _, said = worker.communicate("go on\n", timeout=60)
    assert (worker.returncode, said) == (0, "")
