"""Diagnosis: what is wrong, and what to do. Pure rules over what was seen, a file for each subject.

`check`, `status`, Flower's alerts and notices say what these rules find, in their words.
"""

from batchq.observe.diagnosis.finding import LEVELS, Finding, Level
from batchq.observe.diagnosis.rules import SUBJECTS, diagnose, worst_first
from batchq.observe.diagnosis.seen import Seen, look

__all__ = [
    "LEVELS",
    "SUBJECTS",
    "Finding",
    "Level",
    "Seen",
    "diagnose",
    "look",
    "worst_first",
]
