"""The parameters of Recorder."""

from components.base.section import Section


class RecorderParameters(Section):
    """The record to complete."""

    candidate: str
    """Digest of what determines the model; it names the record."""
    history: str
    """Directory of the records."""
    now: str
    """When the run was planned, ISO 8601. No two runs have the same: no cache answers in the place of this node, and a
    record that was lost, or never written, is written by the next run."""
