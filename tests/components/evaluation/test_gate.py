"""Figures against scikit-learn's and scipy's, and the gate's decisions with their reasons."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, precision_recall_fscore_support

from components.base.errors import UserError
from components.evaluation.config import GateConfig
from components.evaluation.gate import judge
from components.evaluation.metrics import measure, paired_outcomes, wilson_interval
from components.evaluation.predictions import ScoredClips, predictions, read_predictions, write_predictions
from components.evaluation.results import Predecessor, Verdict

GENRES = ("Folk", "Hip-Hop", "Pop", "Rock")


def random_model(seed: int, clips: int = 120, genres: int = 4, skill: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Truth and the float32 probabilities of a model that is the better the higher its `skill`."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, genres, clips)
    logits = generator.normal(size=(clips, genres))
    logits[np.arange(clips), truth] += skill
    odds = np.exp(logits)
    return truth, (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)


def answers(indices: list[int] | np.ndarray, genres: int = 4) -> np.ndarray:
    """Probabilities of a model that is sure of `indices`."""
    return np.eye(genres)[np.asarray(indices)]


@pytest.mark.parametrize("seed", range(5))
def test_metrics_equal_scikit_learns(seed: int) -> None:
    truth, probabilities = random_model(seed)
    found = measure(GENRES, truth, probabilities)
    predicted = probabilities.argmax(axis=1)
    precision, recall, f1, support = precision_recall_fscore_support(truth, predicted, labels=range(4), zero_division=0)
    assert found.clips == 120
    assert found.accuracy == pytest.approx(accuracy_score(truth, predicted))
    assert found.macro_f1 == pytest.approx(f1.mean())
    assert np.array_equal(found.confusion, confusion_matrix(truth, predicted, labels=range(4)))
    assert found.log_loss == pytest.approx(log_loss(truth, probabilities, labels=range(4)), abs=1e-6)
    for index, genre in enumerate(GENRES):
        one = found.genres[genre]
        assert one.model_dump() == pytest.approx(
            {"precision": precision[index], "recall": recall[index], "f1": f1[index], "support": support[index]}
        )


def test_a_genre_without_clips_has_no_figures_and_is_in_no_mean() -> None:
    truth, predicted = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 3])
    found = measure(GENRES, truth, answers(predicted))
    assert tuple(found.genres) == GENRES
    assert found.untested == ("Pop", "Rock")
    for genre in found.untested:
        assert found.genres[genre].model_dump() == {"precision": None, "recall": None, "f1": None, "support": 0}
    assert '"f1":null' in found.model_dump_json()
    expected = precision_recall_fscore_support(truth, predicted, labels=[0, 1], zero_division=0, average="macro")
    assert found.macro_f1 == pytest.approx(expected[2])


def test_a_confident_mistake_costs_a_finite_log_loss() -> None:
    found = measure(GENRES, np.array([0]), answers([1]).astype(np.float32))
    assert found.log_loss == pytest.approx(log_loss([0], answers([1]).astype(np.float32), labels=range(4)))


@pytest.mark.parametrize(("successes", "trials"), [(0, 1), (1, 1), (0, 40), (40, 40), (41, 96), (480, 800)])
def test_wilson_interval_equals_scipys(successes: int, trials: int) -> None:
    expected = binomtest(successes, trials).proportion_ci(confidence_level=0.95, method="wilson")
    assert wilson_interval(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_interval_of_no_trials_is_an_error() -> None:
    with pytest.raises(ValueError, match="no trials"):
        wilson_interval(0, 0)


def test_calibration_error_by_hand() -> None:
    # 0.7 is in the 11th of 15 bins with one of two right, 0.9 in the 14th with all right.
    probabilities = np.array([[0.7, 0.3], [0.7, 0.3], [0.9, 0.1], [0.9, 0.1]])
    found = measure(("a", "b"), np.array([0, 1, 0, 0]), probabilities)
    assert found.expected_calibration_error == pytest.approx((2 * 0.2 + 2 * 0.1) / 4)


def test_a_model_that_is_sure_and_right_is_calibrated() -> None:
    assert measure(GENRES, np.array([0, 1, 2]), answers([0, 1, 2])).expected_calibration_error == 0.0


@pytest.mark.parametrize(
    "broken",
    [np.full((2, 4), np.nan), np.array([[1.2, -0.2, 0, 0]] * 2), np.full((2, 4), 0.5), np.full((2, 4), np.inf)],
)
def test_answers_that_are_no_probabilities_are_refused(broken: np.ndarray) -> None:
    with pytest.raises(UserError, match="2 of 2 clips"):
        measure(GENRES, np.array([0, 1]), broken)


def test_shapes_and_indices_must_fit() -> None:
    with pytest.raises(ValueError, match="are not"):
        measure(GENRES, np.array([0, 1]), answers([0, 1, 2]))
    with pytest.raises(ValueError, match="indices"):
        measure(GENRES, np.array([0, 4]), answers([0, 1]))
    with pytest.raises(UserError, match="No clips"):
        measure(GENRES, np.array([], int), np.empty((0, 4)))


def paired(only_candidate: int, only_champion: int, both: int = 3):
    outcomes = np.repeat([[1, 0], [0, 1], [1, 1], [0, 0]], [only_candidate, only_champion, both, 2], axis=0) == 1
    return paired_outcomes(outcomes[:, 0], outcomes[:, 1])


@pytest.mark.parametrize(("only_candidate", "only_champion"), [(5, 7), (7, 5), (0, 9), (9, 0), (1, 1), (30, 61)])
def test_mcnemar_equals_scipys_binomial_test(only_candidate: int, only_champion: int) -> None:
    found = paired(only_candidate, only_champion)
    differing = only_candidate + only_champion
    assert (found.both_right, found.both_wrong) == (3, 2)
    assert (found.only_candidate, found.only_champion) == (only_candidate, only_champion)
    assert found.p_worse == pytest.approx(binomtest(only_champion, differing, alternative="greater").pvalue)
    assert found.p_different == pytest.approx(binomtest(only_champion, differing).pvalue)


def test_mcnemar_of_agrestis_approval_ratings() -> None:
    # Agresti, Categorical Data Analysis (1990), p. 350: 150 against 86; R's exact2x2 gives p = 3.716e-05.
    assert paired(86, 150).p_different == pytest.approx(3.716e-05, rel=1e-4)


def test_models_that_never_differ_have_p_values_of_1() -> None:
    found = paired(0, 0)
    assert (found.p_worse, found.p_different) == (1.0, 1.0)


def test_unequal_outcomes_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="paired"):
        paired_outcomes(np.ones(3, bool), np.ones(4, bool))


NO_FLOORS = GateConfig(min_accuracy=0.0)
COST = {"latency_ms": 12.5, "megabytes": 3.25}


def said(
    truth: np.ndarray,
    candidate: np.ndarray,
    champion: np.ndarray | None = None,
    split: str = "test",
    span: int | None = None,
) -> ScoredClips:
    """Answers on clips 0000, 0001 ...; the champion's are version 3's."""
    track_ids = [f"{index:04d}" for index in range(len(truth))]
    return ScoredClips(track_ids, truth, candidate, None if champion is None else ("3", champion), split, span)


def on_test(
    gate: GateConfig, truth: np.ndarray, candidate: np.ndarray, champion: np.ndarray | None = None, **others
) -> Verdict:
    """The verdict where there is no golden set."""
    return judge(gate, GENRES, said(truth, candidate, champion), **COST, **others)


@pytest.mark.parametrize("seed", range(10))
def test_a_candidate_like_the_champion_is_never_refused(seed: int) -> None:
    truth, probabilities = random_model(seed, skill=0.5 * seed)
    verdict = on_test(NO_FLOORS, truth, probabilities, probabilities)
    assert verdict.blessed
    assert verdict.paired is not None and verdict.paired.p_worse == 1.0


@pytest.mark.parametrize("seed", range(10))
def test_a_much_worse_candidate_is_always_refused_and_a_better_one_never(seed: int) -> None:
    truth, bad = random_model(seed, skill=0.0)
    good = answers(truth)
    assert not on_test(NO_FLOORS, truth, bad, good).blessed
    assert on_test(NO_FLOORS, truth, good, bad).blessed


@pytest.mark.parametrize(("lost", "blessed"), [(4, True), (5, False)])
def test_the_paired_test_decides_at_its_significance(lost: int, blessed: bool) -> None:
    # 4 losses and no win: p = 1/16; 5: p = 1/32.
    truth = np.zeros(20, int)
    candidate = answers([1] * lost + [0] * (20 - lost))
    verdict = on_test(NO_FLOORS, truth, candidate, answers(truth))
    assert verdict.blessed is blessed
    assert verdict.paired.p_worse == 0.5**lost


def test_a_stricter_significance_lets_more_through() -> None:
    truth = np.zeros(20, int)
    arguments = (truth, answers([1] * 5 + [0] * 15), answers(truth))
    assert not on_test(NO_FLOORS, *arguments).blessed
    assert on_test(GateConfig(min_accuracy=0.0, significance=0.01), *arguments).blessed


def test_the_reason_against_a_champion_gives_the_counts() -> None:
    truth = np.zeros(30, int)
    candidate = answers([1] * 7 + [0] * 23)
    champion = answers([0] * 7 + [1] * 5 + [0] * 18)
    [*_, reason] = on_test(NO_FLOORS, truth, candidate, champion).reasons
    assert reason == (
        "not significantly worse than version 3 on the test clips: wrong on 7 clips it had right, right on 5 it had "
        "wrong (McNemar p = 0.39, needs < 0.05 to refuse)"
    )
    [reason] = on_test(NO_FLOORS, truth, answers([1] * 30), champion).reasons
    assert reason.startswith("significantly worse than version 3 on the test clips: wrong on 25 clips it had right")
    [*_, reason] = on_test(NO_FLOORS, truth, answers(truth), answers([1] * 30)).reasons
    assert reason.startswith("significantly better than version 3 on")


def test_the_accuracy_floor_and_its_reason() -> None:
    truth = np.zeros(96, int)
    candidate = answers([0] * 41 + [1] * 55)
    verdict = on_test(GateConfig(min_accuracy=0.5), truth, candidate)
    assert not verdict.blessed
    assert verdict.reasons == ("accuracy 0.43 on 96 test clips is below the floor gate.min_accuracy 0.50",)


def test_a_floor_is_met_by_equality() -> None:
    truth = np.zeros(5, int)
    assert on_test(GateConfig(min_accuracy=0.6), truth, answers([0, 0, 0, 1, 1])).blessed


def test_a_near_miss_does_not_read_as_a_hit() -> None:
    truth = np.zeros(1000, int)
    [reason] = on_test(GateConfig(min_accuracy=0.5), truth, answers([0] * 499 + [1] * 501)).reasons
    assert reason == "accuracy 0.499 on 1000 test clips is below the floor gate.min_accuracy 0.500"


def test_the_macro_f1_floor() -> None:
    truth, probabilities = random_model(0)
    verdict = on_test(GateConfig(min_accuracy=0.0, min_macro_f1=0.99), truth, probabilities)
    assert not verdict.blessed
    assert "gate.min_macro_f1 0.99" in verdict.reasons[0]


def test_genre_floors_apply_to_genres_with_clips_and_single_ones_come_first() -> None:
    truth = np.array([0] * 10 + [1] * 10 + [2] * 10)
    candidate = answers([0] * 10 + [1] * 2 + [0] * 8 + [2] * 10)
    gate = GateConfig(min_accuracy=0.0, min_genre_recall=0.3)
    verdict = on_test(gate, truth, candidate)
    assert verdict.reasons == ("recall of Hip-Hop 0.20 on 10 test clips is below the floor gate.min_genre_recall 0.30",)
    assert [check.name for check in verdict.checks] == [
        "min_accuracy",
        "genre_recall.Folk",
        "genre_recall.Hip-Hop",
        "genre_recall.Pop",
        "genre_recall.Rock",
        "max_calibration_error",
        "max_latency_ms",
        "max_megabytes",
        "untested",
    ]
    lenient = gate.model_copy(update={"genre_recall": {"Hip-Hop": 0.1}})
    assert on_test(lenient, truth, candidate).blessed


def test_a_floor_of_a_genre_without_clips_fails_with_a_reason() -> None:
    truth = np.zeros(10, int)
    gate = GateConfig(min_accuracy=0.0, genre_recall={"Rock": 0.5})
    verdict = on_test(gate, truth, answers(truth))
    assert verdict.reasons == ("Rock was not tested, so its floor gate.genre_recall.Rock 0.5 cannot be checked",)
    assert [check.name for check in verdict.checks if check.value is None] == ["genre_recall.Rock"]
    general = on_test(GateConfig(min_accuracy=0.0, min_genre_recall=0.5), truth, answers(truth))
    assert general.blessed
    assert "--   Rock was not tested, so its floor gate.min_genre_recall 0.5 cannot be checked" in general.account


def test_a_genre_that_is_not_tested_on_new_clips_has_its_floor_on_the_golden_ones() -> None:
    truth, all_genres = np.zeros(10, int), np.repeat(range(4), 5)
    gate = GateConfig(min_accuracy=0.0, genre_recall={"Rock": 0.5})
    for rocks, blessed in ((3, True), (2, False)):
        old = golden(all_genres, answers([0] * 5 + [1] * 5 + [2] * 5 + [3] * rocks + [0] * (5 - rocks)))
        verdict = judge(gate, GENRES, said(truth, answers(truth), span=2), old, **COST)
        assert verdict.blessed is blessed
        [check] = [check for check in verdict.checks if check.name == "genre_recall.Rock"]
        assert check.text.startswith(f"recall of Rock {rocks / 5:.2f} on 5 golden clips of span 1 ")
    untested = "--   3 of 4 genres were not tested, for lack of test clips of span 2: Hip-Hop, Pop, Rock"
    assert untested in verdict.account
    assert "macro-F1 1.000 of 1 of 4 genres" in verdict.headline


def test_a_floor_of_an_unknown_genre_names_the_key_and_the_genres() -> None:
    with pytest.raises(UserError, match=r"gate\.genre_recall\.Polka: no such genre.*Folk, Hip-Hop, Pop, Rock"):
        on_test(GateConfig(genre_recall={"Polka": 0.1}), np.array([0]), answers([0]))


def test_the_first_run_says_that_there_is_no_champion() -> None:
    truth = np.zeros(10, int)
    verdict = on_test(GateConfig(), truth, answers(truth))
    assert verdict.blessed and verdict.champion is None and verdict.paired is None
    assert "no champion to compare with: judged by the floors alone" in verdict.reasons


@pytest.mark.parametrize("right", [True, False])
def test_a_note_is_among_the_reasons(right: bool) -> None:
    truth = np.zeros(10, int)
    verdict = on_test(GateConfig(), truth, answers(truth if right else truth + 1), note="version 3 knew no Folk")
    assert verdict.blessed is right
    assert verdict.reasons[-1] == "version 3 knew no Folk"


def golden(truth: np.ndarray, candidate: np.ndarray, champion: np.ndarray | None = None, span: int = 1) -> ScoredClips:
    return said(truth, candidate, champion, "golden", span)


def right_about(count: int, clips: int = 40) -> np.ndarray:
    """Answers of a model that names the first `count` clips right, where all are of the first genre."""
    return answers([0] * count + [1] * (clips - count))


ALL_FOLK = np.zeros(40, int)


def test_better_on_test_but_significantly_worse_on_golden_is_refused() -> None:
    test = said(ALL_FOLK, right_about(40), right_about(20), span=5)
    verdict = judge(NO_FLOORS, GENRES, test, golden(ALL_FOLK, right_about(30), right_about(40)), **COST)
    assert not verdict.blessed
    [reason] = verdict.reasons
    assert reason.startswith("significantly worse than version 3 on the golden clips of span 1: wrong on 10 clips")
    expected = binomtest(10, 10, alternative="greater").pvalue
    assert verdict.golden.paired.p_worse == pytest.approx(expected)
    better = next(check for check in verdict.checks if check.name == "champion")
    assert better.passed and better.text.startswith("significantly better than version 3 on the test clips of span 5")
    assert (verdict.span, verdict.golden.span, verdict.on_golden) == (5, 1, verdict.golden)
    assert [each.candidate.accuracy for each in verdict.sets] == [1.0, 0.75]


def test_figures_on_both_sets_equal_scikit_learns() -> None:
    (test_truth, test_said), (golden_truth, golden_said) = random_model(0), random_model(1, clips=80)
    verdict = judge(NO_FLOORS, GENRES, said(test_truth, test_said), golden(golden_truth, golden_said), **COST)
    for judged, truth, chances in ((verdict, test_truth, test_said), (verdict.golden, golden_truth, golden_said)):
        assert judged.candidate.accuracy == pytest.approx(accuracy_score(truth, chances.argmax(axis=1)))
        assert judged.headline.startswith(f"accuracy {judged.candidate.accuracy:.1%} on {len(truth)} {judged.split} cl")


def test_the_test_clips_may_be_the_golden_set() -> None:
    test = said(ALL_FOLK, right_about(30), right_about(30), span=1)
    verdict = judge(NO_FLOORS, GENRES, test, test, **COST)
    assert verdict.golden is None and verdict.on_golden is verdict and verdict.sets == (verdict,)
    assert [check.name for check in verdict.checks] == [
        "min_accuracy",
        "champion",
        "max_calibration_error",
        "max_latency_ms",
        "max_megabytes",
        "untested",
    ]


def decline(with_best: bool) -> list[bool]:
    """Blessings of models each of which is wrong on 4 golden clips that the one before had right."""
    best, blessings = None, []
    for version, right in enumerate((36, 32, 28, 24), start=3):
        verdict = judge(
            NO_FLOORS,
            GENRES,
            said(ALL_FOLK, right_about(40), right_about(40)),
            ScoredClips(
                [f"{index}" for index in range(40)],
                ALL_FOLK,
                right_about(right),
                (str(version), right_about(right + 4)),
                "golden",
            ),
            best=best if with_best else None,
            **COST,
        )
        best = verdict.best
        blessings.append(verdict.blessed)
        reasons = verdict.reasons
    assert with_best is any("worse than version 3, the best before it, on the golden" in r for r in reasons)
    return blessings


def test_a_slow_decline_is_refused() -> None:
    # 4 losses and no win: p = 1/16, for ever; against the best 8 and no win: p = 1/256.
    assert decline(with_best=False) == [True] * 4
    assert decline(with_best=True) == [True, False, False, False]


def test_outcomes_do_not_depend_on_the_order_of_the_clips() -> None:
    truth, chances = random_model(0)
    whole, order = said(truth, chances), np.random.default_rng(0).permutation(len(truth))
    shuffled = ScoredClips([whole.track_ids[index] for index in order], truth[order], chances[order])
    one, other = (judge(NO_FLOORS, GENRES, each, **COST).outcomes for each in (whole, shuffled))
    assert one == other
    assert one.accuracy == pytest.approx(accuracy_score(truth, chances.argmax(axis=1)))
    relabelled = judge(NO_FLOORS, GENRES, said((truth + 1) % 4, chances), **COST).outcomes
    assert relabelled.clips != one.clips


@pytest.mark.parametrize("there", [True, False])
def test_a_best_version_on_other_clips_is_not_compared_and_the_reason_is_given(there: bool) -> None:
    test, best = said(ALL_FOLK, right_about(40)), Predecessor(version=2, clips="other", right="1" * 40)
    verdict = judge(NO_FLOORS, GENRES, test, golden(ALL_FOLK, right_about(1)) if there else None, best=best, **COST)
    assert verdict.blessed
    why = "the golden set has other clips now" if there else "there is no golden set any more"
    assert verdict.reasons[-1] == f"not compared with version 2, the best before it on the golden set: {why}"


def test_the_best_of_the_line_is_kept_for_those_who_come_after() -> None:
    def best_after(champion: int, before: Predecessor | None) -> Predecessor | None:
        clips = golden(ALL_FOLK, right_about(30), right_about(champion))
        return judge(NO_FLOORS, GENRES, said(ALL_FOLK, right_about(30)), clips, best=before, **COST).best

    first = best_after(33, None)
    assert (first.version, first.accuracy) == (3, 33 / 40)
    earlier = first.model_copy(update={"version": 2})
    assert best_after(31, earlier) == earlier
    assert best_after(35, earlier).right.count("1") == 35
    assert on_test(NO_FLOORS, ALL_FOLK, right_about(40), best=earlier).best == earlier


@pytest.mark.parametrize(
    ("name", "exceeded", "met", "reason"),
    [
        (
            "max_latency_ms",
            0.001,
            12.5,
            "median time for one clip 12.500 ms exceeds the limit gate.max_latency_ms 0.001",
        ),
        ("max_megabytes", 3.2, 3.25, "size of the SavedModel 3.25 MB exceeds the limit gate.max_megabytes 3.20"),
        (
            "max_calibration_error",
            0.2,
            0.25,
            "expected calibration error 0.25 on 40 test clips exceeds the limit gate.max_calibration_error 0.20",
        ),
    ],
)
def test_limits(name: str, exceeded: float, met: float, reason: str) -> None:
    assert on_test(GateConfig(**{name: exceeded}), ALL_FOLK, right_about(30)).reasons == (reason,)
    verdict = on_test(GateConfig(**{name: met}), ALL_FOLK, right_about(30))
    assert verdict.blessed and f"is within the limit gate.{name}" in verdict.reasons[-1]


def test_a_figure_without_a_limit_is_listed_and_never_refuses() -> None:
    verdict = on_test(NO_FLOORS, ALL_FOLK, right_about(0))
    assert verdict.blessed
    assert {check.name: check.value for check in verdict.checks if check.limit is None} == {
        "min_accuracy": 0.0,
        "max_calibration_error": 1.0,
        "max_latency_ms": 12.5,
        "max_megabytes": 3.25,
        "untested": 3.0,
    }
    assert (verdict.latency_ms, verdict.megabytes) == (12.5, 3.25)
    assert verdict.reasons == ("no champion to compare with: judged by the floors alone",)
    assert verdict.account[0] == "--   accuracy 0.00 on 40 test clips (no floor: gate.min_accuracy is 0)"


def test_a_verdict_survives_json() -> None:
    truth, probabilities = random_model(0)
    gate = GateConfig(genre_recall={"Rock": 0.2}, min_genre_recall=0.1)
    other = random_model(1)[1]
    best = Predecessor(version=2, clips="other", right="01")
    clips = golden(truth, other, probabilities)
    verdict = judge(gate, GENRES, said(truth, probabilities, other), clips, best=best, **COST)
    assert verdict.best.version == 3
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict


def test_predictions_round_trip_in_the_order_of_the_tracks(tmp_path) -> None:
    genres = ("Drum & Bass, fast", 'Rock "n" Roll', "Фолк")
    truth, chances = np.array([0, 1, 2]), np.array([[0.5, 0.25, 0.25], [0.125, 0.125, 0.75], [0.0, 0.0, 1.0]])
    rows = predictions(genres, ScoredClips(["c", "a", "b"], truth, chances, ("3", answers([0, 1, 1], 3))))
    assert [row.track_id for row in rows] == ["a", "b", "c"]
    assert [row.correct for row in rows] == [False, True, True]
    write_predictions(tmp_path / "one.csv", genres, rows)
    write_predictions(tmp_path / "two.csv", genres, reversed(rows))
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    assert read_predictions(tmp_path / "one.csv") == rows


def test_predictions_without_a_champion_have_no_column_for_it(tmp_path) -> None:
    path = tmp_path / "predictions.csv"
    rows = predictions(GENRES, ScoredClips(["a"], np.array([0]), answers([1]), split="golden"))
    write_predictions(path, GENRES, rows)
    assert path.read_text().splitlines() == [
        "track_id,split,genre,predicted,correct,p_Folk,p_Hip-Hop,p_Pop,p_Rock",
        "a,golden,Folk,Hip-Hop,0,0.000000,1.000000,0.000000,0.000000",
    ]
    assert read_predictions(path) == rows


def test_a_file_that_is_not_a_table_of_predictions_is_an_error(tmp_path) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    for name in ("other.csv", "missing.csv"):
        with pytest.raises(UserError, match=name):
            read_predictions(tmp_path / name)
