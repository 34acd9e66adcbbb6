"""The parameters of DataGate."""

from typing import Literal

from components.base.section import Section


class DataGateParameters(Section):
    """The rule for anomalies."""

    on_anomaly: Literal["stop", "continue"]
