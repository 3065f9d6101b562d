"""NetworkPolicies, enforced on this node's pods for as long as somebody asks for it.

The first packet of each connection that a pod begins waits in a queue of the kernel until what decides,
kube-network-policies, says whether it may go on. While that does not run, none may, nor while the API server
does not know yet that the pod has this address. Nothing of IPv6 goes through.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from node import programs
from node.control_plane import ask
from node.places import BRIDGE, KUBECONFIG, NODE, ClusterError, wait_for
from node.processes import start, stop

_PROGRAM, _CHAIN, _QUEUE, _SET = "policies", "AXO-POLICIES", "87", "axo-pods"
_QUEUES = Path("/proc/net/netfilter/nfnetlink_queue")
_RULES = (
    (_CHAIN, "-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "RETURN"),
    (_CHAIN, "-m", "set", "!", "--match-set", _SET, "src", "-j", "DROP"),
    (_CHAIN, "-j", "NFQUEUE", "--queue-num", _QUEUE),
)
# To this node, and to other pods: appended, so behind the wall that keeps pods on the bridge.
_HOOKS = tuple((hook, "-i", BRIDGE, "-j", _CHAIN) for hook in ("INPUT", "FORWARD"))
_HOOKS_6 = tuple((hook, "-i", BRIDGE, "-j", "DROP") for hook in ("INPUT", "FORWARD"))


def enforce_policies() -> None:
    """Returns once each new connection is decided about."""
    if ask("/readyz") is None:
        raise ClusterError("the node does not run: scripts/cluster up")
    start(_PROGRAM, [programs.build_policies(), KUBECONFIG, NODE, _QUEUE, _SET])
    wait_for("nobody decides by NetworkPolicies", _is_bound, 30)
    _done("iptables", "-N", _CHAIN)  # nothing where it is there already
    made = [_append("iptables", rule) for rule in (*_RULES, *_HOOKS)]
    made += [_append("ip6tables", rule) for rule in _HOOKS_6]
    if not all(made):
        let_all_go()
        raise ClusterError(
            "iptables cannot queue packets here: the kernel lacks NFQUEUE or sets of addresses"
        )


def let_all_go() -> None:
    if shutil.which("iptables"):
        for hook in _HOOKS:
            _done("iptables", "-D", *hook)
        for hook in _HOOKS_6:
            _done("ip6tables", "-D", *hook)
        _done("iptables", "-F", _CHAIN)
        _done("iptables", "-X", _CHAIN)
    stop(_PROGRAM)


def _is_bound() -> bool:
    return any(line.split()[:1] == [_QUEUE] for line in _QUEUES.read_text().splitlines())


def _append(program: str, rule: tuple[str, ...]) -> bool:
    return _done(program, "-C", *rule) or _done(program, "-A", *rule)


def _done(program: str, *arguments: str) -> bool:
    return subprocess.run([program, "-w", *arguments], capture_output=True).returncode == 0
