"""Becomes another program that dies with the process which started it, even by SIGKILL.

    python tether.py PARENT_PID SIGNAL COMMAND …

Rules: standard library only, no imports of ours. Linux sends the signal when the parent's starting thread ends; where
there is no such call the program just runs, and only an orderly end of the parent stops it.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, signal: int, command: list[str]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal)
        if os.getppid() != parent:  # it died before the call: nobody will send the signal
            sys.exit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
