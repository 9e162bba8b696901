"""Tokens and buckets."""

from __future__ import annotations

import pytest

from perfcast.serving.operations.access import RateLimit, client_of, holds


def test_a_token_is_held_or_not() -> None:
    assert holds({b"authorization": b"Bearer abc"}, b"abc")
    assert holds({b"authorization": b"bearer  abc "}, b"abc")
    assert not holds({b"authorization": b"Bearer abd"}, b"abc")
    assert not holds({b"authorization": b"abc"}, b"abc")
    assert not holds({}, b"abc")


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2"),
        ("2001:db8::1", "2001:db8:0:0"),
        ("::1", "0:0:0:0"),
        ("", ""),
    ],
)
def test_an_ipv6_network_is_one_client(address: str, client: str) -> None:
    assert client_of(address) == client


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_fills_at_its_rate_and_no_further() -> None:
    clock = Clock()
    limit = RateLimit(10, clock=clock)
    assert [limit.wait_s("a") for _ in range(10)] == [0.0] * 10
    assert limit.wait_s("a") == pytest.approx(0.1)
    assert limit.wait_s("b") == 0.0
    clock.now = 0.25
    assert [limit.wait_s("a") == 0.0 for _ in range(3)] == [True, True, False]
    clock.now = 1_000.0
    assert sum(limit.wait_s("a") == 0.0 for _ in range(20)) == 10


def test_memory_is_bounded_and_the_busy_are_remembered() -> None:
    limit = RateLimit(1, clock=Clock())
    assert limit.wait_s("busy") == 0.0
    for number in range(25_000):
        limit.wait_s(str(number))
        if number % 5_000 == 0:
            assert limit.wait_s("busy") > 0.0
    assert len(limit) == 10_000
