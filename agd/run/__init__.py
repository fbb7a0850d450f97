"""Runners: one primitive, a ``map`` that runs a bounded number of items ahead (:class:`agd.run.Runner`)."""

from agd.processors import available_cpus
from agd.run.memory import default_memory, in_flight, items_in_flight, memory_of
from agd.run.progress import SILENT, Progress
from agd.run.runner import Runner, Stage, local_runner
from agd.run.serial import SerialRunner
from agd.run.threads import ThreadRunner, bounded_map, runner_or_threads

__all__ = [
    "SILENT", "Progress", "Runner", "SerialRunner", "Stage", "ThreadRunner", "available_cpus", "bounded_map",
    "default_memory", "in_flight", "items_in_flight", "local_runner", "memory_of", "runner_or_threads",
]  # fmt: skip
