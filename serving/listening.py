"""A listening socket for the service."""

from __future__ import annotations

import socket

from perfcast.errors import InvalidInput, Problem

__all__ = ["listen"]

_BACKLOG = 2048


def listen(host: str, port: int) -> socket.socket:
    """A TCP socket listening on `host` and `port` (0: a free one), for a server to accept from.

    Its protocol is named: asyncio switches Nagle's algorithm off only for sockets that say TCP, and
    with it on, every answer in two writes waits 40 ms for the client's delayed acknowledgement.
    `socket.create_server` does not name it.

    Raises `InvalidInput` if the address cannot be used.
    """
    if not 0 <= port <= 65_535:  # getaddrinfo would wrap it around
        raise InvalidInput([Problem("port", f"must be from 0 to 65535, not {port}")])
    listener: socket.socket | None = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except (OSError, UnicodeError) as error:
        if listener is not None:
            listener.close()
        told = getattr(error, "strerror", None) or error
        reason = f"cannot listen on {host}:{port}: {told}"
        raise InvalidInput([Problem("port", reason)]) from error
    return listener
