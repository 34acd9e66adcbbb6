"""The forms in which predictions are written: each makes text of results as they come, but for Parquet."""

import io
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from components.base.tables import write_table
from components.base.text import as_utf8, one_line
from components.store.answers import Segment, SongGenres

SILENT = "silent"
"""What stands for the genre of a song, or of a part of it, without sound."""


@dataclass(frozen=True)
class Result:
    """What was found out about a song."""

    path: str
    version: int | None
    """Of the model."""
    answer: SongGenres | None = None
    error: str = ""
    """Why there is no answer."""


@dataclass(frozen=True)
class Choice:
    """What of an answer is written."""

    top: int | None
    """The most genres of a song, or of a segment; None: all."""
    least: float
    """The least probability, from 0 to 1."""
    segments: bool

    def of(self, probabilities: Mapping[str, float]) -> dict[str, float]:
        """Returns the genres to write, the most probable first."""
        best = itertools.islice(probabilities.items(), self.top)
        return {genre: probability for genre, probability in best if probability >= self.least}


Form = Callable[[Iterable[Result], Choice], Iterator[str]]


def table(results: Iterable[Result], choice: Choice) -> Iterator[str]:
    """Writes a line for each song, for people; and one for each segment. Errors are told elsewhere."""

    def named(probabilities: Mapping[str, float]) -> str:
        shown = "  ".join(f"{genre} {probability:.0%}" for genre, probability in choice.of(probabilities).items())
        return shown or (f"nothing above {choice.least:.0%}" if probabilities else SILENT)

    for result in results:
        if result.answer is None:
            continue
        yield f"{one_line(result.path)}: {one_line(named(result.answer.probabilities))}\n"
        for segment in result.answer.segments if choice.segments else ():
            span = f"{_clock(segment.start)} to {_clock(segment.end)}"
            yield f"  {span}  {one_line(named(segment.probabilities))}\n"


def as_jsonl(results: Iterable[Result], choice: Choice) -> Iterator[str]:
    """Writes a JSON object on a line for each song."""
    for result in results:
        yield json.dumps(_record(result, choice), ensure_ascii=False) + "\n"


def as_json(results: Iterable[Result], choice: Choice) -> Iterator[str]:
    """Writes one JSON list with an object for each song."""
    before = "[\n"
    for result in results:
        text = json.dumps(_record(result, choice), indent=2, ensure_ascii=False)
        yield before + "  " + text.replace("\n", "\n  ")
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def as_csv(results: Iterable[Result], choice: Choice) -> Iterator[str]:
    """Writes a table with a row for each genre of each song, or of each segment."""
    yield _csv(columns(choice))
    yield from csv_rows(results, choice)


def csv_rows(results: Iterable[Result], choice: Choice) -> Iterator[str]:
    """Writes what follows the header of `as_csv`."""
    for result in results:
        yield "".join(_csv(list(row.values())) for row in rows(result, choice))


def as_audacity(results: Iterable[Result], choice: Choice) -> Iterator[str]:
    """Writes a label track for Audacity: start and end in seconds, and the genres of each segment that has any."""
    for result in results:
        for segment in result.answer.segments if result.answer else ():
            named = ", ".join(
                f"{genre} {probability:.2f}" for genre, probability in choice.of(segment.probabilities).items()
            )
            if named:
                yield f"{segment.start:.6f}\t{segment.end:.6f}\t{one_line(named)}\n"


TEXTS: dict[str, Form] = {
    "table": table,
    "json": as_json,
    "jsonl": as_jsonl,
    "csv": as_csv,
    "audacity": as_audacity,
}
"""By name."""


def columns(choice: Choice) -> list[str]:
    """Returns the names of the columns of `rows`."""
    return ["path", *(["start", "end"] if choice.segments else []), "genre", "probability", "version", "error"]


def rows(result: Result, choice: Choice) -> Iterator[dict[str, Any]]:
    """Yields a row, by column, for each genre that is written; at least one for each song and segment.

    Where there is no genre, because it is silent or none is probable enough, or there was an error, it is None.
    """
    parts: Iterable[tuple[dict[str, Any], Mapping[str, float]]] = [({}, {})]
    if result.answer and choice.segments:
        parts = [({"start": each.start, "end": each.end}, each.probabilities) for each in result.answer.segments]
    elif result.answer:
        parts = [({}, result.answer.probabilities)]
    for span, probabilities in parts:
        for genre, probability in choice.of(probabilities).items() or [(None, None)]:
            known = {"path": as_utf8(result.path), **span, "genre": genre, "probability": probability}
            known |= {"version": result.version, "error": as_utf8(result.error) or None}
            yield {column: known.get(column) for column in columns(choice)}


def _csv(row: list[Any]) -> str:
    line = io.StringIO()
    write_table(line, ["" if cell is None else cell for cell in row], [])
    return line.getvalue()


def _record(result: Result, choice: Choice) -> dict[str, Any]:
    record: dict[str, Any] = {"path": as_utf8(result.path)}
    if result.answer is None:
        return record | {"error": as_utf8(result.error)}
    answer = result.answer
    record |= {"version": result.version, "clips": answer.clips, "genres": choice.of(answer.probabilities)}
    if not answer.clips:
        record["reason"] = SILENT
    if choice.segments:
        record["segments"] = [_segment(each, choice) for each in answer.segments]
    return record


def _segment(segment: Segment, choice: Choice) -> dict[str, Any]:
    return {"start": segment.start, "end": segment.end, "genres": choice.of(segment.probabilities)}


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60.0)
    return f"{int(minutes):2}:{rest:04.1f}"
