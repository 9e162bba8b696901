"""Settings come from PERFCAST_* variables, typed; anything else with that prefix is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfcast.errors import InvalidInput
from perfcast.settings import Settings


def test_defaults() -> None:
    settings = Settings.from_env({"PATH": "/bin"})
    assert settings == Settings()
    assert settings.models_dir.name == "models"


def test_values_are_typed() -> None:
    settings = Settings.from_env(
        {
            "PERFCAST_MODELS_DIR": "/m",
            "PERFCAST_HOST": "::",
            "PERFCAST_PORT": "0",
            "PERFCAST_RELOAD_S": "0.5",
        }
    )
    assert settings == Settings(models_dir=Path("/m"), host="::", port=0, reload_s=0.5)


def test_flags_and_tokens() -> None:
    secret = "c2VjcmV0LXNlY3JldA=="
    settings = Settings.from_env({"PERFCAST_ACCESS_LOG": "true", "PERFCAST_TOKEN": secret})
    assert settings == Settings(access_log=True, token=secret)
    assert secret not in repr(settings)


def test_a_bad_token_is_not_repeated() -> None:
    with pytest.raises(InvalidInput) as caught:
        Settings.from_env({"PERFCAST_TOKEN": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERFCAST_PORT", "8123")
    assert Settings.from_env().port == 8123


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("PERFCAST_PROT", "1", "did you mean 'PERFCAST_PORT'"),
        ("PERFCAST_PORT", "http", "must be a whole number, not 'http'"),
        ("PERFCAST_PORT", "65536", "must be from 0 to 65535"),
        ("PERFCAST_MAX_ROWS", "0", "must be from 1"),
        ("PERFCAST_MAX_BODY_BYTES", "-1", "must be from 1"),
        ("PERFCAST_MAX_CANDIDATES", "1.5", "must be a whole number"),
        ("PERFCAST_ACCESS_LOG", "yes", "must be true or false, not 'yes'"),
        ("PERFCAST_LOG_LEVEL", "loud", "must be debug, info, warning or error, not 'loud'"),
        ("PERFCAST_WORKERS", "0", "must be from 1 to 256"),
        ("PERFCAST_RATE_LIMIT", "-1", "must be from 0"),
        ("PERFCAST_TOKEN", "short", "must be 16 to 512 letters"),
        ("PERFCAST_MANAGEMENT_TOKEN", "sixteen characters or more", "must be 16 to 512 letters"),
        ("PERFCAST_RELOAD_S", "often", "must be a number, not 'often'"),
        ("PERFCAST_RELOAD_S", "nan", "must be from 0 to 86400"),
        ("PERFCAST_RELOAD_S", "-1", "must be from 0 to 86400"),
    ],
)
def test_what_cannot_be_used_is_named(key: str, text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        Settings.from_env({key: text})
    assert caught.value.problems[0].field == key
