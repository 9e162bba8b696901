from __future__ import annotations

import random
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from perfcast.features.versions import version_key

ORDERED = (
    "",
    "0.5.6",
    "0.5.6.post2",
    "0.5.10",
    "0.9.0",
    "0.14.0.dev3",
    "0.14.0",
    "1.3.0a1",
    "1.3.0b1",
    "1.3.0rc15",
    "1.3.0rc20",
    "1.3.0",
    "1.3.0.post1",
    "v2.0",
)


def test_oldest_to_newest() -> None:
    shuffled = random.Random(0).sample(ORDERED, len(ORDERED))
    assert sorted(shuffled, key=version_key) == list(ORDERED)
    assert len({version_key(version) for version in ORDERED}) == len(ORDERED)


def test_equal_versions_compare_equal() -> None:
    assert version_key("1.3") == version_key("1.3.0") == version_key("v1.3.0+cu128")


@settings(deadline=None)
@given(st.lists(st.text(max_size=20), min_size=2))
def test_any_strings_can_be_sorted(versions: list[str]) -> None:
    ordered = sorted(versions, key=version_key)
    keys = [version_key(version) for version in ordered]
    assert all(older <= newer for older, newer in pairwise(keys))
