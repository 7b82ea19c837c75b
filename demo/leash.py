"""`python -m demo.leash worker`: a part of the service that ends when whoever started it is gone.

Its standard input is the line to the process that started it, which the kernel closes however that ends. A
part that is run by itself, as a supervisor does, has no leash.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

ABANDONED = 20.0  # seconds from the line's end until the part is ended, whatever it still does


def main() -> None:
    """Run the module that the command line names, told to stop by SIGTERM once standard input ends."""
    threading.Thread(target=_watch, daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _watch() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(ABANDONED)
    os._exit(1)


if __name__ == "__main__":
    main()
