"""Selection by Gumbel sequential halving (Danihelka et al. 2022, Policy improvement by planning with Gumbel).

Takes a node with its statistics; gives the edge to follow, and the improved policy that a search teaches. At the root,
m actions are drawn without replacement by adding Gumbel noise to the log priors, and the simulations are spent on them
in rounds that halve their number (sequential halving); below, the action is taken whose visits lag most behind the
improved policy (equation 14). Unvisited actions are valued by the mixture of the node's own value and its visited ones'
(appendix D).

One trap is avoided on purpose: the reference code stretches Q to [0, 1] at every node, which teaches noise where all
actions are equally good; our returns lie near [0, 1] already and are used as they are. Different, too: an action whose
tree is exhausted is passed over, because to visit it again tells nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from random import Random

from components.schema.identity import child_seed
from components.search.puct import open_ways
from components.search.settings import SelfplaySettings
from components.search.tree import Blank, Edge, Node, action_key

LEAST = 1e-9
"""Floor of a prior inside a logarithm."""


def root_way(root: Node, simulation: int, settings: SelfplaySettings) -> Edge | Blank:
    """The way for this simulation, counted from 1.

    Of those with the visits that are due, the best by noise, log prior and completed Q; where none has so many visits
    (some are exhausted), the best of those that come nearest.
    """
    ways = root.ways
    considered = min(settings.considered, len(ways)) if settings.arguments_per_tool else settings.considered
    due = considered_visits(considered, settings.simulations)[simulation - 1]
    scores = dict(zip(map(id, ways), _logits(root, settings), strict=True))

    def preference(way: Edge | Blank) -> tuple[int, float]:
        return -abs(way.tried - due), _noise(root, way, settings) + scores[id(way)]

    return max((way for way in ways if way.available), key=preference)


def inner_way(node: Node, settings: SelfplaySettings) -> Edge | Blank:
    """argmax of improved policy - N / (1 + sum N) over the open ways: deterministic (equation 14)."""
    improved = dict(zip(map(id, node.ways), improved_policy(node, settings), strict=True))
    return max(open_ways(node, node.tried, settings), key=lambda way: improved[id(way)] - way.tried / node.tried)


def improved_policy(node: Node, settings: SelfplaySettings) -> list[float]:
    """softmax(log P + sigma(completed Q)) over the node's ways (equation 11): what the search teaches."""
    logits = _logits(node, settings)
    highest = max(logits, default=0.0)
    weights = [math.exp(logit - highest) for logit in logits]
    return [weight / sum(weights) for weight in weights]


def _logits(node: Node, settings: SelfplaySettings) -> list[float]:
    """log P + sigma(completed Q), where sigma(q) = (c_visit + max N) c_scale q (equation 8)."""
    ways = node.ways
    busiest = max((way.tried for way in ways), default=0)
    scale = (settings.visit_scale + busiest) * settings.value_scale
    mixed = mixed_value(node)
    completed = [way.q(mixed) if isinstance(way, Edge) else mixed for way in ways]
    return [math.log(max(way.prior, LEAST)) + scale * q for way, q in zip(ways, completed, strict=True)]


def mixed_value(node: Node) -> float:
    """v_mix (equation 33): the node's own estimate and the visited actions' mean Q by prior, weighed by the visits."""
    tried = [edge for edge in node.edges if edge.tried]
    mass, visits = sum(edge.prior for edge in tried), sum(edge.tried for edge in tried)
    if mass <= 0.0:
        return node.value
    mean = sum(edge.prior * edge.q(0.0) for edge in tried) / mass
    return (node.value + visits * mean) / (1 + visits)


def _noise(root: Node, way: Edge | Blank, settings: SelfplaySettings) -> float:
    """Gumbel(0, 1), the same for the same seed, problem and action."""
    name = action_key(way.action) if isinstance(way, Edge) and way.label is None else way.label
    seed = child_seed(settings.seed, root.state.problem.problem_id, "gumbel", str(name))
    return -math.log(-math.log(max(Random(seed).random(), LEAST)))


@lru_cache(maxsize=256)
def considered_visits(considered: int, simulations: int) -> Sequence[int]:
    """For each simulation, how many visits an action must have to be considered (sequential halving's plan)."""
    if considered <= 1:
        return tuple(range(simulations))
    phases = math.ceil(math.log2(considered))
    plan: list[int] = []
    left, visits = considered, 0
    while len(plan) < simulations:
        for _ in range(max(1, simulations // (phases * left))):
            plan += [visits] * left
            visits += 1
        left = max(2, left // 2)
    return tuple(plan[:simulations])
