"""Fetches a registered bundle from MLflow: what an alias stands for, and the two files of it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perfcast.bundle import CARD_FILE, MODEL_FILE, Bundle
from perfcast.errors import BundleError, DataError, InvalidInput, MissingExtra, Problem
from perfcast.training.tracking import MODEL_TAG, connect, tracking_uri

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

__all__ = ["ModelUri", "fetch", "parse_model_uri"]

_URI = re.compile(r"models:/([^/@]+)(?:@([^/@]+)|/([1-9][0-9]*))")
_SECRET = re.compile(r"//[^/@]*@")  # user and password, in an address
_LONGEST_REASON = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUri:
    """A registered model: `key` is the number of a version, or an alias."""

    name: str
    key: str
    is_alias: bool

    def __str__(self) -> str:
        return f"models:/{self.name}{'@' if self.is_alias else '/'}{self.key}"


def parse_model_uri(text: str) -> ModelUri:
    """Read `models:/NAME@ALIAS` or `models:/NAME/VERSION`. Raises `InvalidInput`."""
    match = _URI.fullmatch(text)
    if match is None:
        reason = f"must be like models:/gemm@champion or models:/gemm/3, not {text[:200]!r}"
        raise InvalidInput([Problem("uri", reason)])
    name, alias, version = match.groups()
    return ModelUri(name=name, key=alias or version, is_alias=alias is not None)


def fetch(uri: ModelUri, into: Path, *, store: str | None = None) -> Bundle:
    """Download the bundle that `uri` names to the new folder `into`, and verify its hash.

    `store` is MLflow's tracking URI (default: `tracking_uri()`). The hash is compared with the one
    in the card, and with the one that the registry keeps, if the model was registered with it.
    Raises `DataError` if the store does not have the model, `BundleError` if it cannot be
    downloaded whole or is not what it claims, `MissingExtra` without MLflow.
    """
    # somebody waits: MLflow's own seven retries take four minutes where nobody answers
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    where = tracking_uri() if store is None else store
    _require_store(where)
    with _told(f"{uri}: cannot be looked up in {_SECRET.sub('//', where)}", DataError):
        client = connect(where)
        found = (
            client.get_model_version_by_alias(uri.name, uri.key)
            if uri.is_alias
            else client.get_model_version(uri.name, uri.key)
        )
        source = client.get_model_version_download_uri(found.name, found.version)
    with _told(f"{uri}: cannot be downloaded", BundleError):
        into.mkdir()
        for name in (CARD_FILE, MODEL_FILE):
            _download(f"{source.rstrip('/')}/{name}", into, name, where)
    try:
        bundle = Bundle.open(into)
    except BundleError as error:
        raise BundleError(f"{uri}: {str(error).removeprefix(f'{into.name}: ')}") from error
    _compare(bundle, found)
    return bundle


def _download(address: str, into: Path, name: str, where: str) -> None:
    import mlflow.artifacts

    path = mlflow.artifacts.download_artifacts(
        artifact_uri=address, dst_path=str(into), tracking_uri=where, registry_uri=where
    )
    if Path(path) != into / name:  # some stores keep the folders that lead to the file
        Path(path).replace(into / name)
        for entry in into.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)


def _compare(bundle: Bundle, found: ModelVersion) -> None:
    kept = found.tags.get(MODEL_TAG)
    if kept is not None and kept != bundle.card["model_sha256"]:
        raise BundleError(
            f"{bundle.name}: not the model that was registered as version {found.version}: "
            "its hash differs from the registry's"
        )


def _require_store(uri: str) -> None:
    """Raise `DataError` for an SQLite file that is not there, which MLflow would make."""
    path = uri.removeprefix("sqlite:///")
    if path != uri and not Path(path).is_file():
        raise DataError(f"{path}: no such file; --tracking-uri names the MLflow store")


@contextmanager
def _told(what: str, kind: type[BundleError | DataError]) -> Iterator[None]:
    """What MLflow, its HTTP client, its database or the disk complain about, in one line."""
    try:
        yield
    except (KeyboardInterrupt, MissingExtra):
        raise
    except Exception as error:  # MLflow lets the errors of many libraries through
        lines = " ".join(_SECRET.sub("//", str(error)).split())
        raise kind(f"{what}: {lines[:_LONGEST_REASON]}") from error
