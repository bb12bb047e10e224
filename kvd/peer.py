"""Who is at the other end of a Unix socket, as the kernel says."""

from __future__ import annotations

import os
import socket
import struct
import sys

__all__ = ["is_welcome", "peer_uid"]

_LINUX_UCRED = struct.Struct("3i")
_MAC_LOCAL_LEVEL = 0
_MAC_PEERCRED = 1
_MAC_XUCRED = struct.Struct("=IIh2x16I")


def peer_uid(sock: socket.socket) -> int | None:
    """The user id of the process that connected, or that listens; None where the platform cannot say."""
    uid: int | None = None
    if sys.platform == "linux":
        packed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _LINUX_UCRED.size)
        uid = _LINUX_UCRED.unpack(packed)[1]
    elif sys.platform == "darwin":
        packed = sock.getsockopt(_MAC_LOCAL_LEVEL, _MAC_PEERCRED, _MAC_XUCRED.size)
        uid = _MAC_XUCRED.unpack(packed)[1]
    return uid


def is_welcome(sock: socket.socket) -> bool:
    """Whether the other end is this user or root; true where the platform cannot say."""
    return peer_uid(sock) in {os.getuid(), 0, None}
