"""Looks for wrong labels in a span, with what the served model hears in its songs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from etils import epath
from numpy.typing import NDArray

from components.base.errors import UserError
from components.base.files import write_atomically
from components.drift.profile import Profile, profile_clips
from components.evaluation.label_errors import likely_errors, out_of_fold_probabilities
from components.library.layout import example_files, read_manifest, require_unchanged
from components.library.tables import read_examples
from components.reporting.hearing import heard_clips
from components.reporting.labels import Suspect, render_labels
from components.reporting.spectrograms import SpectrogramScale
from components.store.model_card import read_card


def find_label_errors(root: Path, span: int, saved_model: epath.Path, page: Path, most: int) -> int:
    """Writes a page of the songs of a span whose labels are likely wrong.

    Args:
      root: of the library.
      span: a complete one.
      saved_model: the served version.
      page: where to write.
      most: songs on the page.

    Returns:
      The number of likely errors, of which the page shows the first `most`.

    Raises:
      UserError: the model or the span is damaged, or there is too little music to tell.
    """
    card = read_card(saved_model)
    library, manifest = epath.Path(root), read_manifest(epath.Path(root), span)
    files = example_files(library, manifest)
    profile = profile_clips(saved_model, files, max_clips=2**31)
    if not len(profile.track_ids):
        raise UserError(f"{root}: span {span} has no songs.")
    genres, labels = np.unique(profile.genres, return_inverse=True)
    probabilities = out_of_fold_probabilities(
        features_of(profile, pretrained=bool(card.trained_on)), labels, profile.groups.tolist()
    )
    errors = likely_errors(labels, probabilities)
    shown = errors[:most]
    names = [str(profile.track_ids[error.index]) for error in shown]
    heard = heard_clips(saved_model, files, names, card.features)
    facts = {row["track_id"]: row for row in read_examples(root, span)}
    require_unchanged(library, manifest)
    suspects = [
        Suspect(
            track_id=name,
            path=facts[name]["path"],
            split=facts[name]["split"],
            genre=str(genres[labels[error.index]]),
            suggested=str(genres[error.suggested]),
            probabilities=dict(zip(genres.tolist(), probabilities[error.index].tolist(), strict=True)),
            # Not those of the served model, which has learned the label.
            heard=heard[name].without_windows(),
        )
        for name, error in zip(names, shown, strict=True)
    ]
    mel = card.features.mel
    scale = SpectrogramScale(card.features.audio.sample_rate, mel.fmin, mel.fmax)
    html = render_labels(genres.tolist(), suspects, len(labels), scale)
    write_atomically(epath.Path(page), html)
    return len(errors)


def features_of(profile: Profile, *, pretrained: bool) -> NDArray[np.float32]:
    """Returns what songs are told apart by, [n, f]: nothing that learned from the labels in question.

    Those are descriptors of the audio, and the embedding of a base that was pretrained on other music.
    """
    parts: Sequence[NDArray[np.float32]] = [profile.descriptors, *([profile.embeddings] if pretrained else [])]
    return np.concatenate(parts, axis=1)
