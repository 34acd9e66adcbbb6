"""What a run is to do: what its parameters may change, what it imports, and which candidate it is of."""

from datetime import UTC, datetime
from typing import Any

import pytest
from etils import epath

from components.base.errors import UserError
from components.library.layout import read_manifest
from components.library.span_import import SpanImport
from components.retraining.policy import Facts
from components.store.model_store import Lineage, publish, roll_back
from pipeline.config.settings import PipelineConfig
from pipeline.planning.plan import Plan, held_out_clips, make_plan, parse_settings, run_config, slot_clips
from pipeline.planning.preflight import check

NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)

COMPILED = PipelineConfig(data="gs://b/data", workspace="gs://b", span=3)


def test_settings_are_divided_by_semicolons_and_lines() -> None:
    text = " train.epochs=5;model.options={filters: [8, 16]} \n\n; gate.min_accuracy=0.6"
    assert parse_settings(text) == ["train.epochs=5", "model.options={filters: [8, 16]}", "gate.min_accuracy=0.6"]
    assert parse_settings("") == []


def test_a_run_has_its_own_data_span_and_settings() -> None:
    config = run_config(COMPILED, "gs://c/data", 4, "model.kind=knn; gate.min_accuracy=0.6")
    assert (config.data, config.span, config.model.kind, config.gate.min_accuracy) == ("gs://c/data", 4, "knn", 0.6)
    assert config.train == COMPILED.train
    assert run_config(COMPILED, COMPILED.data, 3, "") == COMPILED
    assert run_config(COMPILED, COMPILED.data, "last", "").span == "last"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("train.epoch=3", "train.epoch: unknown key"),
        ("train.epochs=many", "train.epochs"),
        ("train.epochs", "expected --set section.key=value"),
        ("beam.mode=multi_processing; name=other", "name, beam cannot be changed by it"),
        ("window=2", "window cannot be changed by it"),
        ("train.warm_start=true", "train.warm_start cannot be changed by it"),
        ("tune.enabled=true", "tune.enabled cannot be changed by it"),
        ("data=gs://c", "data cannot be changed by it. The parameters `data` and `span`"),
        ("workspace=gs://c", "workspace cannot be changed by it"),
    ],
)
def test_settings_that_a_run_cannot_have(settings: str, told: str) -> None:
    with pytest.raises(UserError) as refusal:
        run_config(COMPILED, COMPILED.data, 3, settings)
    assert told in str(refusal.value)


# --- What is imported --------------------------------------------------------------------------------------------


def of(sources: list[SpanImport]) -> list[int | None]:
    return [source.span for source in sources]


def test_every_span_of_the_window_is_imported_into_its_slot(place: Any) -> None:
    root = epath.Path(place.data)
    window = [read_manifest(root, span) for span in (3, 4, 5)]
    sources = slot_clips(root, window, ((3,), (4,), (5,)))
    assert of(sources) == [3, 4, 5]
    assert sources[1].splits == {split: (f"{root}/span-4/{split}",) for split in ("train", "eval", "test")}
    assert sources[1].manifest == "digest of 4"
    # What is in a slot is the same in the next window: its import, and all behind it, is taken from the cache.
    place.add(6)
    later = slot_clips(root, [*window[1:], read_manifest(root, 6)], ((6,), (4,), (5,)))
    assert (of(later), later[1:]) == ([6, 4, 5], sources[1:])


def test_a_slot_without_a_span_imports_nothing(place: Any) -> None:
    root = epath.Path(place.data)
    sources = slot_clips(root, [read_manifest(root, 1)], ((), (1,), ()))
    assert of(sources) == [None, 1, None]
    assert sources[0] == sources[2] == SpanImport(span=None, splits={"train": (), "eval": (), "test": ()}, digest="")


def test_a_changed_span_is_another_import(place: Any) -> None:
    root = epath.Path(place.data)

    def digest() -> str:
        return slot_clips(root, [read_manifest(root, 1)], ((1,),))[0].digest

    before = digest()
    assert digest() == before
    place.add(1, digest="other content")
    assert digest() != before


def test_what_nobody_trains_on_is_held_out(place: Any) -> None:
    root = epath.Path(place.data)
    first, *window = (read_manifest(root, span) for span in (1, 3, 4, 5))
    newest = window[-1:]
    source = held_out_clips(root, window, newest, first)
    assert {split: [path.removeprefix(f"{root}/") for path in paths] for split, paths in source.splits.items()} == {
        "test": ["span-5/test"],
        "eval": ["span-5/eval"],
        "joined": [],
        "window": ["span-3/eval", "span-3/test", "span-4/eval", "span-4/test"],
        "golden": ["span-1/test"],
    }
    assert (source.span, source.manifest) == (5, ""), "it is no whole span, so it is never set aside"
    for golden in (window[-1], None):  # then `test` is the golden set, or there is none
        assert held_out_clips(root, window, newest, golden).splits["golden"] == ()
    assert held_out_clips(root, newest, newest, first).splits["window"] == ()
    assert held_out_clips(root, window, newest, None).digest != source.digest


def test_a_small_span_is_imported_with_the_one_before_it(place: Any) -> None:
    place.add(6, eval=0, test=0)
    root = epath.Path(place.data)
    golden, *window = (read_manifest(root, span) for span in (1, 5, 6))
    [source] = slot_clips(root, window, ((5, 6),))
    assert source.splits == {
        "train": (f"{root}/span-5/train", f"{root}/span-6/train"),
        "eval": (f"{root}/span-5/eval",),
        "test": (f"{root}/span-5/test",),
    }
    assert (source.span, source.manifest, source.joined) == (6, "digest of 6", {5: "digest of 5"})
    assert source.digest not in ("digest of 5", "digest of 6")
    held_out = held_out_clips(root, window, window[:1], golden)
    assert held_out.splits == {
        "test": (),
        "eval": (),
        "joined": (f"{root}/span-5/test",),
        "window": (f"{root}/span-5/eval",),
        "golden": (f"{root}/span-1/test",),
    }
    assert held_out_clips(root, window, window[:1], window[0]).splits["golden"] == (), "its test clips alone judge"


# --- The candidate, and what it is judged against ----------------------------------------------------------------

WARM = {"train": {"warm_start": True}}


def plan_of(place: Any, **settings: Any) -> Plan:
    config = place.config(**settings)
    return make_plan(config, check(config, leave_out=True), NOON, asked=False)


def planned(place: Any, **settings: Any) -> Facts:
    """What a run now would be of, and against."""
    plan = plan_of(place, **settings)
    facts = plan.policy.facts
    assert (plan.lineage.candidate, plan.lineage.parent) == (facts.candidate, facts.champion)
    assert plan.champion.version == facts.champion
    return facts


def push(place: Any, **settings: Any) -> Facts:
    """As a run does whose candidate the gate accepts."""
    facts = planned(place, **settings)
    model = place.workspace / "artifacts"
    model.mkdir(parents=True, exist_ok=True)
    (model / "saved_model.pb").write_bytes(b"graph")
    lineage = Lineage(
        candidate=facts.candidate, parent=facts.champion, data=str(place.data), span=facts.span, window=facts.window
    )
    publish(epath.Path(place.workspace / "models"), epath.Path(model), lineage)
    return facts


@pytest.mark.parametrize("settings", [{}, WARM], ids=["cold", "warm"])
def test_a_served_candidate_is_the_same_when_it_runs_again(place: Any, settings: dict[str, Any]) -> None:
    first = push(place, **settings)
    assert first.champion is None
    assert planned(place, **settings).candidate == first.candidate
    assert planned(place, **settings).champion is None
    place.add(6)
    second = push(place, **settings)
    assert (second.champion, second.champion_spans, second.new_clips) == (1, (3, 4, 5), 60)
    again = planned(place, **settings)
    assert (again.candidate, again.champion) == (second.candidate, 1)


def test_new_data_start_from_what_is_served(place: Any) -> None:
    push(place, **WARM)
    place.add(6)
    from_first = planned(place, **WARM)
    push(place, **WARM, gate={"min_accuracy": 0.1})  # of the same candidate: the gate does not make the model
    place.add(7)
    push(place, **WARM)
    place.add(8)
    assert planned(place, **WARM).champion == 3
    # Span 6 alone again: from version 3 it is another model than it was from version 1.
    at_6 = planned(place, **WARM, span=6)
    assert (at_6.champion, at_6.window) == (3, from_first.window)
    assert at_6.candidate != from_first.candidate
    assert planned(place, span=6).candidate not in (at_6.candidate, from_first.candidate), "cold is another, too"


def test_cold_candidates_do_not_depend_on_what_is_served(place: Any) -> None:
    before = push(place, span=3)
    push(place, span=4)
    again = planned(place, span=3)
    assert (again.candidate, again.champion) == (before.candidate, 2)


def test_a_candidate_whose_version_was_damaged_is_pushed_again(place: Any) -> None:
    first = push(place)
    store = epath.Path(place.workspace / "models")
    assert plan_of(place).pusher.lost == ()
    (store / "1" / "saved_model.pb").write_bytes(b"")
    assert roll_back(store) == (1, None)
    again = plan_of(place)
    assert (again.lineage.candidate, again.pusher.lost, again.policy.facts.judged) == (first.candidate, (1,), "")


@pytest.mark.parametrize("settings", [{}, WARM], ids=["cold", "warm"])
def test_a_rolled_back_candidate_is_known_again(place: Any, settings: dict[str, Any]) -> None:
    push(place, **settings)
    place.add(6)
    second = push(place, **settings)
    roll_back(epath.Path(place.workspace / "models"))
    again = planned(place, **settings)
    assert (again.candidate, again.champion) == (second.candidate, 1)
    assert again.judged == "it is version 2, which was rolled back"
    place.add(7)
    later = planned(place, **settings)
    assert (later.champion, later.judged) == (1, "")
    assert later.champion_spans == (3, 4, 5)
