"""The listening socket is one that asyncio recognises as TCP, and refusals name the address."""

from __future__ import annotations

import socket

import pytest

from perfcast.errors import InvalidInput
from perfcast.serving.listening import listen


def test_accepted_connections_name_their_protocol() -> None:
    with (
        listen("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        assert accepted.proto == socket.IPPROTO_TCP


def test_a_port_in_use_is_named() -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(InvalidInput, match=f"cannot listen on 127.0.0.1:{port}"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "port", "message"),
    [
        ("192.0.2.1", 0, "cannot listen on 192.0.2.1:0"),
        ("a" * 70 + ".b", 0, "cannot listen on"),
        ("127.0.0.1", 70_000, "must be from 0 to 65535"),
        ("127.0.0.1", -1, "must be from 0 to 65535"),
    ],
)
def test_an_impossible_address_is_named(host: str, port: int, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        listen(host, port)
