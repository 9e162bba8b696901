"""One version of a model, as this protocol sees it: what it understood before, it keeps."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from perfcast.errors import MalformedRequest
from perfcast.serving.oip.answer import Writer
from perfcast.serving.oip.body import parsed
from perfcast.serving.oip.inputs import Feeds, Reader, make_reader
from perfcast.serving.oip.plan import Plan, make_plan
from perfcast.serving.predictor import Predictor
from perfcast.serving.scalars import ScalarFeeds
from perfcast.settings import Settings
from perfcast.task import shown

__all__ = ["Model", "Prepared"]

_MOST_KEPT: Final = 256
_LONGEST_KEPT: Final = 4096
"""Bytes of a header that is worth keeping: longer ones are not sent by programs that hurry."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request's header, ready for the data of every request that has the same one."""

    plan: Plan
    read: Reader
    write: Writer


class Model:
    """Understands requests to one predictor. Holds no reference to it, so that it can be let go."""

    def __init__(self, predictor: Predictor, settings: Settings) -> None:
        self.task = predictor.task
        self.outputs = predictor.session.output_names
        self.card = predictor.bundle.card
        self.version = predictor.bundle.version
        self._settings = settings
        self._short_way = ScalarFeeds(self.task)
        self._kept: OrderedDict[bytes, Prepared] = OrderedDict()

    def understand(self, body: bytes, json_bytes: int) -> tuple[Feeds, Writer]:
        """Checked inputs of the request in `body`, and what writes its answer.

        The first `json_bytes` are the request's JSON. Raises what `make_plan` and readers raise.
        """
        header = body[:json_bytes]
        following = len(body) - json_bytes
        prepared = self._kept.get(header)
        plan = self._plan(header) if prepared is None else prepared.plan
        if following != plan.binary_bytes:
            raise MalformedRequest(
                f"{following} bytes follow the JSON, which speaks of {shown(plan.binary_bytes)}"
            )
        if prepared is None:
            prepared = self._prepare(header, plan)
        return prepared.read(body, json_bytes), prepared.write

    def _plan(self, header: bytes) -> Plan:
        return make_plan(
            parsed(header, self._settings.max_body_bytes),
            task=self.task,
            outputs=self.outputs,
            max_rows=self._settings.max_rows,
        )

    def _prepare(self, header: bytes, plan: Plan) -> Prepared:
        writer = Writer(
            plan, name=self.task.name, version=self.version, sentences=self.card["reasons"]
        )
        prepared = Prepared(plan, make_reader(plan, self.task, self._short_way), writer)
        if plan.repeatable and len(header) <= _LONGEST_KEPT:
            self._kept[header] = prepared
            if len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return prepared
