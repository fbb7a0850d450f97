"""Simulated sequencing runs: read pairs with errors, qualities, names and duplicates, and the truth about them."""

from agd.ops.simulate.qualities import PROFILES
from agd.ops.simulate.run import SimulationReport, simulate

__all__ = ["PROFILES", "SimulationReport", "simulate"]
