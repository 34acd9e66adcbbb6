"""Sorts the files of a library into examples and rejects, such as duplicates; checks that a model can learn from it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from components.library.layout import SPLITS, SplitCount
from components.library.repeats.near_duplicates import Alike
from components.library.shards import Fact, Shard, read_facts
from components.library.sources.track import Track

DUPLICATE, IN_OTHER_SPAN, NEAR_DUPLICATE = "duplicate", "already ingested", "near-duplicate"
"""Kinds of reject. That a song is in an earlier span is no fault, and does not count towards `max_reject_share`."""


@dataclass(frozen=True, slots=True)
class First:
    """The copy of a clip that is kept."""

    track_id: str
    split: str
    genre: str


class Duplicates:
    """Finds the files that are copies of others, by the hashes of their clips."""

    def __init__(self, directory: Path, shards: Sequence[Shard], earlier: Mapping[bytes, tuple[str, int]]):
        """Reads the facts of `shards` in `directory`; `earlier`: track id and span of the clips of earlier spans."""
        self._directory, self._earlier = directory, earlier
        self._apart: dict[str, str] = {}
        """By track id, why a near-duplicate is no example."""
        self._firsts: dict[bytes, First] = {}
        for shard in shards:
            for fact in read_facts(directory, shard):
                if not fact.reject:
                    mine, key = First(fact.track_id, fact.split, fact.genre), bytes.fromhex(fact.sha256)
                    self._firsts[key] = min(mine, self._firsts.get(key, mine), key=lambda first: first.track_id)

    def reject(self, found: Iterable[Alike]) -> None:
        """Makes rejects of near-duplicates."""
        for each in found:
            where = f" of span {each.other.span}" if each.other.span is not None else ""
            reason = f"{NEAR_DUPLICATE} of {each.other.track_id} (in split {each.other.split}{where})"
            self._apart.setdefault(each.clip.track_id, reason)

    def facts(self, shard: Shard) -> Iterator[tuple[Fact, Fact]]:
        """Yields two facts for each file of `shard`, in order: of the file alone, and of it among all files."""
        for fact in read_facts(self._directory, shard):
            yield fact, fact if fact.reject else self._without_copies(fact)

    def _without_copies(self, fact: Fact) -> Fact:
        key = bytes.fromhex(fact.sha256)
        if found := self._earlier.get(key):
            reason = f"{IN_OTHER_SPAN}: duplicate of {found[0]} in span {found[1]}"
            return replace(fact, reject=IN_OTHER_SPAN, reason=reason)
        first = self._firsts[key]
        if first.track_id == fact.track_id:
            near = self._apart.get(fact.track_id)
            return replace(fact, reject=NEAR_DUPLICATE, reason=near) if near else fact
        unlike = [f"in split {first.split}"] * (first.split != fact.split)
        unlike += [f"of genre {first.genre}"] * (first.genre != fact.genre)
        aside = f" ({', '.join(unlike)})" if unlike else ""
        return replace(fact, reject=DUPLICATE, reason=f"{DUPLICATE} of {first.track_id}{aside}")


@dataclass
class Sorting:
    """All input files, as examples or as rejects."""

    rejects: list[Fact]
    """In the order of their track ids."""
    kept: dict[str, list[tuple[Shard, list[bool]]]] = field(default_factory=lambda: {split: [] for split in SPLITS})
    """Per split, the shards that have examples; with each, a flag for each of its records: it is an example."""
    genres: dict[str, Counter[str]] = field(default_factory=lambda: {split: Counter() for split in SPLITS})
    """Examples per split and genre."""
    groups: dict[str, set[str]] = field(default_factory=lambda: {split: set() for split in SPLITS})

    @property
    def all_genres(self) -> tuple[str, ...]:
        """Genres that have an example, in alphabetical order."""
        return tuple(sorted(set().union(*self.genres.values())))

    def counts(self) -> dict[str, SplitCount]:
        """Returns the sizes of the splits, for the manifest."""
        return {
            split: SplitCount(
                clips=self.genres[split].total(),
                groups=len(self.groups[split]),
                genres=dict(sorted(self.genres[split].items())),
            )
            for split in SPLITS
        }

    def reject_counts(self) -> dict[str, int]:
        """Returns the number of rejects of each kind."""
        return dict(sorted(Counter(fact.reject for fact in self.rejects).items()))


def unopened(track: Track) -> Fact:
    """Makes the reject of a track that has a problem, so that its file was not opened."""
    names = (track.track_id, track.path, track.genre, track.group, track.split or "", track.fold)
    return Fact(*names, reject=track.kind, reason=track.problem)


def sort_files(duplicates: Duplicates, shards: Sequence[Shard], unopened: Sequence[Fact]) -> Sorting:
    """Sorts the files of `shards`, and those that were not opened, into examples and rejects."""
    sorting = Sorting(rejects=list(unopened))
    for shard in shards:
        records = []
        for alone, among_all in duplicates.facts(shard):
            if among_all.reject:
                sorting.rejects.append(among_all)
            else:
                sorting.genres[shard.split][among_all.genre] += 1
                sorting.groups[shard.split].add(among_all.artist)
            if not alone.reject:
                records.append(not among_all.reject)
        if any(records):
            sorting.kept[shard.split].append((shard, records))
    sorting.rejects.sort(key=lambda fact: fact.track_id)
    return sorting


def too_many(rejects: Sequence[Fact], total: int, max_share: float) -> str:
    """Returns an error message if `rejects` are more than a share of `max_share` of `total` input files; else ""."""
    failures = [fact for fact in rejects if fact.reject != IN_OTHER_SPAN]
    of = total - (len(rejects) - len(failures))
    if len(failures) <= max_share * of:
        return ""
    kinds = Counter(fact.reject for fact in failures)
    samples = {fact.reject: fact for fact in reversed(failures)}
    lines = "".join(
        f"\n  {count} {kind}, such as {samples[kind].path} ({samples[kind].reason})"
        for kind, count in kinds.most_common()
    )
    problem = f"{len(failures)} of {of} files were rejected, more than the share of {max_share:g} that "
    problem += f"ingest.max_reject_share allows:{lines}\n"
    enough = int(len(failures) / of * 100 + 1) / 100  # rounded up, so that it is enough
    return problem + (
        f"Repair them, or accept it with --set ingest.max_reject_share={enough:g}." if enough <= 1 else ""
    )


def lack(sorting: Sorting, genres: Sequence[str], first: bool) -> str:
    """Returns an error message if the examples cannot become a span of a library of `genres`; else "".

    The `first` span needs clips in all splits. Later ones need not: its clips and those of the window judge them.
    """
    if not any(sorting.kept.values()):
        if any(fact.reject == IN_OTHER_SPAN for fact in sorting.rejects):
            return "Nothing new: every usable song is in an earlier span already. Add songs."
        return "No song can be used as an example. Add songs."
    if len(genres) < 2:
        return f"Only one genre, {genres[0]!r}, and a classifier needs two. Add songs of another."
    if first and (empty := [split for split, kept in sorting.kept.items() if not kept]):
        groups = len(set().union(*sorting.groups.values()))
        return (
            f"No example in split {' or '.join(empty)}: {groups} groups (artists, recordings) to divide. The first "
            "span of a library needs clips to train on (train), to validate with (eval) and to judge by (test): give a "
            "genre three artists, or two genres two each; change the shares in ingest.splits; or give the splits in a "
            "CSV file."
        )
    return ""
