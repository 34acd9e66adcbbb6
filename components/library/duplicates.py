"""What of a whole library becomes examples: duplicates go, and a library that cannot be learnt from is refused."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from components.library.layout import SPLITS, SplitCount
from components.library.shards import Fact, Shard, read_facts
from components.library.sources.track import NOT_AUDIO, Track

DUPLICATE, IN_OTHER_SPAN = "duplicate", "already ingested"
NO_FAILURE = (NOT_AUDIO, IN_OTHER_SPAN)
"""Kinds of reject that say nothing against the library, and do not count towards `max_reject_share`."""


@dataclass(frozen=True, slots=True)
class First:
    """The copy of a clip that is kept."""

    track_id: str
    split: str
    genre: str


class Judge:
    """Knows every clip of the shards by its hash, and so which files are copies of others."""

    def __init__(self, directory: Path, shards: Sequence[Shard], earlier: Mapping[bytes, tuple[str, int]]):
        """Read the facts of `shards` in `directory`; `earlier`: track id and span of the clips of earlier spans."""
        self._directory, self._earlier = directory, earlier
        self._firsts: dict[bytes, First] = {}
        for shard in shards:
            for fact in read_facts(directory, shard):
                if not fact.reject:
                    mine, key = First(fact.track_id, fact.split, fact.genre), bytes.fromhex(fact.sha256)
                    self._firsts[key] = min(mine, self._firsts.get(key, mine), key=lambda first: first.track_id)

    def facts(self, shard: Shard) -> Iterator[tuple[Fact, Fact]]:
        """What became of the files of `shard`, in order: on its own, and among all."""
        for fact in read_facts(self._directory, shard):
            yield fact, fact if fact.reject else self._without_copies(fact)

    def _without_copies(self, fact: Fact) -> Fact:
        key = bytes.fromhex(fact.sha256)
        if found := self._earlier.get(key):
            reason = f"{IN_OTHER_SPAN}: duplicate of {found[0]} in span {found[1]}"
            return replace(fact, reject=IN_OTHER_SPAN, reason=reason)
        first = self._firsts[key]
        if first.track_id == fact.track_id:
            return fact
        unlike = [f"in split {first.split}"] * (first.split != fact.split)
        unlike += [f"of genre {first.genre}"] * (first.genre != fact.genre)
        aside = f" ({', '.join(unlike)})" if unlike else ""
        return replace(fact, reject=DUPLICATE, reason=f"{DUPLICATE} of {first.track_id}{aside}")


@dataclass
class Verdict:
    """What became of all input files."""

    rejects: list[Fact]
    """By track id."""
    kept: dict[str, list[tuple[Shard, list[bool]]]] = field(default_factory=lambda: {split: [] for split in SPLITS})
    """Per split the shards of which something remains, each with which of its records do."""
    genres: dict[str, Counter[str]] = field(default_factory=lambda: {split: Counter() for split in SPLITS})
    """Examples per split and genre."""
    groups: dict[str, set[str]] = field(default_factory=lambda: {split: set() for split in SPLITS})

    @property
    def all_genres(self) -> tuple[str, ...]:
        """Genres that have an example, in order."""
        return tuple(sorted(set().union(*self.genres.values())))

    def counts(self) -> dict[str, SplitCount]:
        """Sizes of the splits, as the manifest has them."""
        return {
            split: SplitCount(
                clips=self.genres[split].total(),
                groups=len(self.groups[split]),
                genres=dict(sorted(self.genres[split].items())),
            )
            for split in SPLITS
        }

    def reject_counts(self) -> dict[str, int]:
        """Number of rejects of each kind."""
        return dict(sorted(Counter(fact.reject for fact in self.rejects).items()))


def unopened(track: Track) -> Fact:
    """The reject that `track` is by its problem."""
    names = (track.track_id, track.path, track.genre, track.group, track.split or "", track.fold)
    return Fact(*names, reject=track.problem.partition(":")[0], reason=track.problem)


def judge_all(judge: Judge, shards: Sequence[Shard], unopened: Sequence[Fact]) -> Verdict:
    """Sort the files of `shards`, and those that were not even opened, into examples and rejects."""
    verdict = Verdict(rejects=list(unopened))
    for shard in shards:
        records = []
        for alone, among_all in judge.facts(shard):
            if among_all.reject:
                verdict.rejects.append(among_all)
            else:
                verdict.genres[shard.split][among_all.genre] += 1
                verdict.groups[shard.split].add(among_all.artist)
            if not alone.reject:
                records.append(not among_all.reject)
        if any(records):
            verdict.kept[shard.split].append((shard, records))
    verdict.rejects.sort(key=lambda fact: fact.track_id)
    return verdict


def too_many(rejects: Sequence[Fact], total: int, max_share: float) -> str:
    """What is wrong if `rejects` are more than `max_share` of `total` input files allows; empty if nothing is."""
    failures = [fact for fact in rejects if fact.reject not in NO_FAILURE]
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
    enough = int(len(failures) / of * 100 + 1) / 100  # rounded up, so that it does suffice
    return problem + (f"Mend them, or accept it with --set ingest.max_reject_share={enough:g}." if enough <= 1 else "")


def lack(verdict: Verdict, genres: Sequence[str]) -> str:
    """What the examples lack to be learnt from, for a library of `genres`; empty if nothing."""
    if not any(verdict.kept.values()):
        if any(fact.reject == IN_OTHER_SPAN for fact in verdict.rejects):
            return "Nothing new: every song that is good for an example is in an earlier span already."
        return "No song is good for an example."
    if len(genres) < 2:
        return f"Only one genre, {genres[0]!r}, and a classifier needs two. Add songs of another."
    for split, kept in verdict.kept.items():
        if not kept:
            groups = len(set().union(*verdict.groups.values()))
            return (
                f"No example in split {split}: only {groups} groups (artists, recordings) to divide. Add songs of more "
                "groups, change the shares in ingest.splits, or give the splits in a CSV file."
            )
    return ""
