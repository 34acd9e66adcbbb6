"""Decides whether to retrain: one pure function, for the loop on this machine and for the compiled pipeline."""

from typing import Literal

from components.base.section import Section
from components.drift.report import DriftReport
from components.retraining.config import RetrainConfig


class Facts(Section):
    """All that a decision depends on, besides the policy and drift."""

    candidate: str
    """Digest of all that would determine the model; see `components.store.model_store.Lineage`."""
    span: int
    """The newest span of `window`."""
    window: tuple[int, ...]
    """Spans to train on, ascending."""
    champion: int | None
    """The version that is served; None if there is none."""
    champion_spans: tuple[int, ...] = ()
    """Spans that the champion was trained on; empty if that is not known."""
    champion_hours: float | None = None
    """Hours since the champion was pushed; None if that is not known."""
    new_clips: int
    """Number of training clips of the window that the champion was not trained on."""
    new_genres: tuple[str, ...] = ()
    """Genres that the champion does not know."""
    judged: str = ""
    """The outcome of an earlier run for the same candidate, as text; empty if it was never judged."""
    begun: str = ""
    """Start time of a run for the candidate that has not ended, in ISO 8601; empty if there is none."""
    failures: tuple[str, ...] = ()
    """Reasons for which runs for the candidate failed, the oldest first."""
    hours_since_run: float | None = None
    """Hours since the last run of any candidate began; None before the first."""
    asked: bool = False
    """A person asked for the run, so the policy does not count."""


class Decision(Section):
    """A decision and the reasons for it."""

    action: Literal["retrain", "wait", "measure"]
    """measure: it depends on drift, which is not measured yet."""
    reasons: tuple[str, ...]
    again_hours: float | None = None
    """Hours until the decision may change if nothing else happens; None: only a new span changes it."""


def decide(policy: RetrainConfig, facts: Facts, drift: DriftReport | None) -> Decision:
    """Decides whether to retrain.

    Args:
      policy: the rules.
      facts: known without reading a clip.
      drift: between the newest span and the spans that the champion was trained on; None if it is not measured.
    """
    if facts.asked:
        return _retrain("asked for")
    if policy.when == "never":
        return _wait("retrain.when is never")
    if facts.judged:
        return _wait(f"this data with these settings was judged before: {facts.judged}")
    if len(facts.failures) >= policy.max_attempts:
        return _wait(
            f"given up after {len(facts.failures)} failures, the last: {facts.failures[-1]}. A new span, other "
            "settings or `genre retrain --now` start a new run"
        )
    if facts.begun:  # continued without regard to the limits, which allowed its start
        return _retrain(f"a run for this began at {facts.begun} and did not end")
    if facts.champion is not None and not set(facts.window) - set(facts.champion_spans):
        return _wait(f"version {facts.champion} was trained on {spans_in_words(facts.window)}: there is nothing new")
    if policy.when == "now":
        return _retrain("retrain.when is now")
    causes, others = _causes(policy, facts, drift)
    if not causes:
        if policy.on_drift and drift is None:
            return Decision(action="measure", reasons=(*others, "drift is not measured yet"))
        reasons = tuple(others) or ("no rule of retrain is set: on_drift, min_new_clips or every_days",)
        return Decision(action="wait", reasons=reasons, again_hours=_hours_to_schedule(policy, facts))
    if facts.failures:
        causes.append(f"attempt {len(facts.failures) + 1} of {policy.max_attempts}: {facts.failures[-1]}")
    since = facts.hours_since_run
    if since is not None and since < policy.cooldown_hours:
        limit = f"but the last run began within retrain.cooldown_hours {policy.cooldown_hours:g}"
        return Decision(action="wait", reasons=(*causes, limit), again_hours=policy.cooldown_hours - since)
    return _retrain(*causes)


def spans_in_words(spans: tuple[int, ...]) -> str:
    """Names spans: "span 3", "spans 3 to 5" or "spans 3, 5, 6"."""
    if len(spans) == 1:
        return f"span {spans[0]}"
    if len(spans) > 2 and spans == tuple(range(spans[0], spans[-1] + 1)):
        return f"spans {spans[0]} to {spans[-1]}"
    return f"spans {', '.join(map(str, spans))}"


def _causes(policy: RetrainConfig, facts: Facts, drift: DriftReport | None) -> tuple[list[str], list[str]]:
    """Returns the reasons to retrain, and the reasons not to.

    Their texts do not change while only time passes: the history records each change of them.
    """
    if facts.champion is None:
        return ["no model is served yet"], []
    causes: list[str] = []
    others: list[str] = []
    if facts.new_genres:
        causes.append(f"version {facts.champion} does not know {', '.join(facts.new_genres)}: a new model line begins")
    if policy.min_new_clips is not None:
        enough = facts.new_clips >= policy.min_new_clips
        (causes if enough else others).append(
            f"{facts.new_clips} training clips are new to version {facts.champion}, "
            f"{'at least' if enough else 'fewer than'} retrain.min_new_clips {policy.min_new_clips}"
        )
    if policy.every_days is not None:
        if facts.champion_hours is None:
            causes.append(f"the age of version {facts.champion} is not known, and retrain.every_days is set")
        else:
            due = facts.champion_hours >= 24.0 * policy.every_days
            (causes if due else others).append(
                f"version {facts.champion} {'has' if due else 'has not'} reached the age of "
                f"retrain.every_days {policy.every_days:g}"
            )
    if policy.on_drift and drift is not None:
        if drift.drifted:
            causes += drift.findings or ("drift",)
        else:
            others.append(_no_drift(drift))
    return causes, others


def _no_drift(drift: DriftReport) -> str:
    if drift.p_value is None:
        return "; ".join(drift.notes) or "drift was not measured"
    return (
        f"no drift: {drift.newest_clips} newest clips against {drift.reference_clips} (least p = {drift.p_value:.2g}, "
        f"drift from {drift.false_alarm_rate / 2:g} down)"
    )


def _hours_to_schedule(policy: RetrainConfig, facts: Facts) -> float | None:
    if policy.every_days is None or facts.champion_hours is None:
        return None
    return max(0.0, 24.0 * policy.every_days - facts.champion_hours)


def _retrain(*reasons: str) -> Decision:
    return Decision(action="retrain", reasons=reasons)


def _wait(reason: str) -> Decision:
    return Decision(action="wait", reasons=(reason,))
