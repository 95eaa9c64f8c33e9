"""What programs of several images share: how they speak, wait for the others, and leave."""

import os
import signal
import socket
import sys
import threading
import time
import traceback
from pathlib import Path

# Replicas share the machine's processors.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# 128 and more mean: try again.
PEER_LOST = 138


def say(who, message):
    """Print a line in one piece, so that lines of several threads do not mix."""
    sys.stdout.write(f"[{who}] {message}\n")
    sys.stdout.flush()


def variable(name, other):
    """Return the value of the first of two environment variables that is set."""
    return os.environ.get(name) or os.environ[other]


def pace(begun, seconds):
    """Wait until so much time has gone by since `begun`."""
    time.sleep(max(0.0, seconds - (time.monotonic() - begun)))


def wait_for_name(host, seconds):
    """Wait until a name is known: it appears together with its pod, which may be later than this one."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.getaddrinfo(host, None)
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{host}: {error}") from error
            time.sleep(0.5)


def leave_on_sigterm():
    """End with 143 on SIGTERM, even as process 1 of a container and inside a call that never returns."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def wait():
        signal.sigwait({signal.SIGTERM})
        os._exit(143)

    threading.Thread(target=wait, daemon=True).start()


def run(program, lost=()):
    """Run a program to its end. If it fails, leave at once: an orderly exit would wait for the other replicas.

    The exceptions `lost` say that another replica is gone and this one did nothing wrong.
    """
    try:
        program()
    except Exception as error:  # pylint: disable=broad-except; the pod's status shows the message
        traceback.print_exc()
        sys.stderr.flush()
        try:
            Path("/dev/termination-log").write_text(" ".join(f"{type(error).__name__}: {error}".split())[:500])
        except OSError:
            pass
        os._exit(PEER_LOST if isinstance(error, lost) else 1)
