"""The core that every door shares: from features to answers, with what is told about them. No transport here."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

from modelyard.contract.options import ServingOptions
from modelyard.contract.wire import ServingSummary
from modelyard.model.encoders import Array
from modelyard.model.features import Encoder
from modelyard.model.opening import Model
from modelyard_server.asking import Answer, Ask, RequestError
from modelyard_server.computing import Computing
from modelyard_server.memory import Memory
from modelyard_server.predictions import LineWriter, PredictionLog
from modelyard_server.telling import Telling
from modelyard_server.watch import Watch

__all__ = ["Core"]

#: Queries whose encoded values are remembered, and how long they may be.
_MOST_QUERIES, _LONGEST_QUERY = 1024, 2048

Row = Mapping[str, Any]
Columns = Mapping[str, Sequence[Any] | Array]


class Core:
    """A model, where it is computed, and what is counted of it."""

    def __init__(
        self,
        model: Model,
        name: str,
        version: str,
        options: ServingOptions,
        *,
        computing: Computing,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.model = model
        self.name = name
        self.version = version or model.version
        self.options = options
        self.computing = computing
        self.memory = Memory(model.lookup if options.lookup else None, options.cache.entries)
        self.watch = Watch(model.baseline, model.features, model.labels, tuple(model.encoder.inputs))
        self.telling = Telling(self.name, self.version, options.objective)
        computing.observe_batch = self.telling.observe_batch
        _tell(self.telling, computing, self.memory, self.watch)
        self._encoder: Encoder = model.encoder
        self._decodes = bool(model.encoder.takes_bytes)
        self._allowed = options.admission.deadline_milliseconds / 1e3
        self._most_instances = options.admission.max_instances
        self._watched = options.monitoring.distributions
        share = options.monitoring.prediction_log
        names = {"model": self.name, "version": self.version}
        self._log_writer = LineWriter(options.monitoring.prediction_log_file)
        self._log = PredictionLog(share, names, write=self._log_writer) if share else None
        self._queries: dict[str, list[Any]] = {}
        self._remembers = self.memory.in_use
        self._compute_row = computing.inline.compute_row if computing.inline is not None else None
        self._clock = clock

    async def answer_row(self, row: Row, ask: Ask) -> Answer:
        """Answer for one instance; raise FeatureError or RequestError."""
        started = self._clock()
        values = await self._encode_aside(row) if self._decodes else self._encoder.encode_row(row)
        return await self._answer_one(row, values, started, ask)

    async def answer_query(self, query: str, ask: Ask) -> Answer:
        """Answer for the instance that query parameters mean; raise FeatureError or RequestError."""
        if self._decodes:
            return await self.answer_row(self._encoder.parse_query(read_pairs(query)), ask)
        started = self._clock()
        values = self._queries.get(query) or self._encode_query(query)
        return await self._answer_one(query, values, started, ask)

    def _encode_query(self, query: str) -> list[Any]:
        """Encode a new query and remember it: what GET asks is mostly asked again."""
        values = self._encoder.encode_query(read_pairs(query))
        if len(query) <= _LONGEST_QUERY:
            if len(self._queries) >= _MOST_QUERIES:
                self._queries.clear()
            self._queries[query] = values
        return values

    async def _answer_one(self, row: Row | str, values: list[Any], started: float, ask: Ask) -> Answer:
        """Answer for one instance as `Encoder.encode_row` gave it; the row itself may be an unread query."""
        clock = self._clock
        encoded = clock()
        queue = compute = 0.0
        outputs = self.memory.find(values) if self._remembers else None
        if outputs is None:
            if self._compute_row is not None:
                outputs = self._compute_row(values)
                compute = clock() - encoded
            else:
                computed = await self.computing.run_row(values, encoded, ask.deadline(self._allowed))
                outputs, queue, compute = computed.outputs, computed.queue, computed.compute
            if self._remembers:
                self.memory.keep(values, outputs)
        if self._watched and self.watch.has_room(encoded):
            self.watch.add_row(self._read(row), values, outputs)
        if self._log is not None:
            self._log.add(self._read(row), outputs, ask)
        return Answer(outputs, 1, queue, encoded - started, compute)

    async def answer_rows(self, rows: Sequence[Row], ask: Ask) -> Answer:
        """Answer for several instances, row by row; raise FeatureError or RequestError."""
        if len(rows) == 1:
            return await self.answer_row(rows[0], ask)
        self._check_count(len(rows))
        started = self._clock()
        inputs = self._encoder.encode(rows)
        return await self._answer(inputs, partial(self._columns, rows), len(rows), started, ask)

    async def answer_columns(self, columns: Columns, ask: Ask) -> Answer:
        """Answer for several instances, column by column; raise FeatureError or RequestError."""
        row = _single_row(columns)
        if row is not None:
            return await self.answer_row(row, ask)
        rows = max(len(values) for values in columns.values())
        self._check_count(rows)
        started = self._clock()
        return await self._answer(self._encoder.encode_columns(columns), lambda: columns, rows, started, ask)

    def close(self) -> None:
        """Let the threads end and the log be closed."""
        self.computing.close()
        self._log_writer.close()

    def metrics(self) -> bytes:
        """Return the metrics page."""
        self.watch.fold(self._clock())
        return self.telling.metrics()

    def distributions(self) -> dict[str, dict[str, Any]]:
        """Return what was counted of features and predictions, and how far it is from the baseline."""
        self.watch.fold(self._clock())
        return self.watch.document()

    def summary(self, summary: ServingSummary, *, sketches: bool = False) -> ServingSummary:
        """Return the summary with everything that was counted; with the sketches if they are wanted."""
        self.watch.fold(self._clock())
        return self.telling.complete(summary, sketches=sketches)

    async def _answer(
        self, inputs: dict[str, Array], columns: Callable[[], Columns], rows: int, started: float, ask: Ask
    ) -> Answer:
        encoded = self._clock()
        computed = await self.computing.run(inputs, rows, encoded, ask.deadline(self._allowed))
        if self._watched and self.watch.has_room(encoded):
            self.watch.add_columns(columns(), inputs, computed.outputs)
        if self._log is not None:
            self._log.add(columns(), computed.outputs, ask)
        return Answer(computed.outputs, rows, computed.queue, encoded - started, computed.compute)

    def _read(self, row: Row | str) -> Row:
        return self._encoder.parse_query(read_pairs(row)) if isinstance(row, str) else row

    def _columns(self, rows: Sequence[Row]) -> Columns:
        """Return the watched columns of some rows."""
        return {name: [row[name] for row in rows if name in row] for name in self.watch.features}

    async def _encode_aside(self, row: Row) -> list[Any]:
        """Encode a row in a thread if pictures have to be decoded for it."""
        if not any(isinstance(row.get(name), bytes | memoryview) for name in self._encoder.takes_bytes):
            return self._encoder.encode_row(row)
        gate = self.computing.gate
        gate.preparing += 1
        try:
            return await asyncio.to_thread(self._encoder.encode_row, row)
        finally:
            gate.preparing -= 1

    def _check_count(self, count: int) -> None:
        if count == 0:
            raise RequestError("no instances: at least one is expected")
        if count > self._most_instances:
            raise RequestError(f"{count} instances: at most {self._most_instances} are answered at once", 413)


def read_pairs(query: str) -> Sequence[Sequence[str]]:
    """Return names and texts of a query; what is not escaped needs no unescaping."""
    if "%" in query or "+" in query:
        return parse_qsl(query, keep_blank_values=True)
    return [part.split("=", 1) if "=" in part else (part, "") for part in query.split("&") if part]


def _single_row(columns: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the row of columns that are for one instance, or None."""
    row = {}
    for name, values in columns.items():
        if len(values) != 1:
            return None
        row[name] = values[0]
    return row


def _tell(telling: Telling, computing: Computing, memory: Memory, watch: Watch) -> None:
    """Let the metrics page show what the parts count themselves."""
    telling.watch({"feature": watch.features, "prediction": watch.predictions})
    telling.add_gauge(
        "modelyard_requests_waiting", "Requests that wait or are computed.", lambda: computing.gate.waiting
    )
    telling.add_counter("modelyard_cache_hits", "Answers out of the cache.", lambda: memory.cache_hits)
    telling.add_counter("modelyard_lookup_hits", "Answers out of the precomputed table.", lambda: memory.lookup_hits)
    telling.add_counter("modelyard_cache_misses", "Answers in neither table nor cache.", lambda: memory.misses)
