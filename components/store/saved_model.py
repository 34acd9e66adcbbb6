"""The files that this project keeps in a SavedModel, beside TensorFlow's own."""

from dataclasses import dataclass

from etils import epath


@dataclass(frozen=True)
class SavedModel:
    """The layout of a SavedModel's directory. TensorFlow Serving ignores assets.extra."""

    directory: epath.Path

    @property
    def extra(self) -> epath.Path:
        """Holds all that follows."""
        return self.directory / "assets.extra"

    @property
    def card(self) -> epath.Path:
        """Describes how to call the model, see `components.store.model_card`; written by the export."""
        return self.extra / "model.json"

    @property
    def document(self) -> epath.Path:
        """The card for people, as Markdown, see `components.reporting.card`; written by the push."""
        return self.directory / "model_card.md"

    @property
    def document_page(self) -> epath.Path:
        """The same as a page; written by the push."""
        return self.directory / "model_card.html"

    @property
    def weights(self) -> epath.Path:
        """Weights that a later training can start from, see `models.fitting.warm_start`; written by the export."""
        return self.extra / "weights.npz"

    @property
    def onnx(self) -> epath.Path:
        """The same for ONNX Runtime, see `components.exports`; written by the push, if `deploy.export` says so."""
        return self.exported(".onnx")

    def exported(self, suffix: str) -> epath.Path:
        """Returns the place of the export whose name has this ending."""
        return self.extra / f"genre{suffix}"

    @property
    def lineage(self) -> epath.Path:
        """Names what the model was made from, see `components.store.model_store`; written by the push."""
        return self.extra / "lineage.json"

    @property
    def verdict(self) -> epath.Path:
        """The gate's verdict, see `components.evaluation.results`; written by the push."""
        return self.extra / "verdict.json"

    @property
    def reference(self) -> epath.Path:
        """Profile of the clips that it was measured on, see `components.drift.profile`; written by the push."""
        return self.extra / "reference.npz"

    @property
    def checksums(self) -> epath.Path:
        """The SHA-256 of every other file, see `components.store.checksums`; written by the push."""
        return self.extra / "checksums.json"
