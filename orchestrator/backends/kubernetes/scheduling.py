"""Why the scheduler finds no node, in plain words; its own stand behind them, for the operator."""

from __future__ import annotations

import re
from collections.abc import Mapping

_WHOLE = re.compile(r"^0/(\d+) nodes are available: (.*)$", re.DOTALL)
# What it says of nodes (the plugins of kube-scheduler), and what that means to people.
_MEANINGS: Mapping[str, str] = {
    r"Insufficient (\S+)": r"too little free \1",
    r"Too many pods": "as many pods as there may be",
    r"node\(s\) didn't match Pod's node affinity/selector": "other labels than the machine's",
    r"node\(s\) had untolerated taint.*": "a taint that the machine does not tolerate",
    r"node\(s\) were unschedulable": "closed for new pods",
    r"node\(s\) had volume node affinity conflict": "out of its volume's reach",
}


def in_plain_words(message: str) -> str:
    """The message of a pod's condition `PodScheduled`."""
    own = re.split(r"\.? (?:preemption: |no new claims to deallocate)", message)[0].rstrip(".")
    whole = _WHOLE.match(own)
    if whole is None:
        return own
    told = [_meaning(part) for part in re.split(r", (?=\d)", whole[2])]
    if not all(told):
        return own
    return f"none of {whole[1]} nodes has room: {', '.join(filter(None, told))} ({own})"


def _meaning(part: str) -> str | None:
    """What is true of so many nodes; None of words that are not known here."""
    count, _, said = part.partition(" ")
    for pattern, meaning in _MEANINGS.items():
        if count.isdecimal() and (found := re.fullmatch(pattern, said)):
            return f"{found.expand(meaning)} on {count}"
    return None
