"""Selection by PUCT (AlphaZero, Silver et al. 2018), and which ways are open to it.

Takes a node; gives the edge, or the blank, to follow. Left out of the textbook rule: Dirichlet noise at the root,
because we look for answers and not for opponents' replies.
"""

from __future__ import annotations

import math

from components.search.settings import SelfplaySettings
from components.search.tree import Blank, Edge, Node


def best_way(node: Node, settings: SelfplaySettings) -> Edge | Blank:
    """argmax of Q + c P sqrt(N) / (1 + N_edge) over the open ways, the first on ties.

    An untried edge's Q is the node's own value estimate: there is no reason yet to think that it differs. Simulations
    under way count as visits that returned nothing (virtual loss).
    """
    tried = node.tried

    def score(way: Edge | Blank) -> float:
        return node.expected(way) + settings.c_puct * way.prior * math.sqrt(tried) / (1 + way.tried)

    return max(open_ways(node, tried, settings), key=score)


def open_ways(node: Node, visits: int, settings: SelfplaySettings) -> list[Edge | Blank]:
    """The available ways among the first floor(N ** widening) of each decision; all available ones where these are used
    up.

    Progressive widening (Coulom 2007): a new argument sample is tried as its node proves worth visiting.
    """
    available = [way for way in node.ways if way.available]
    width = max(1, math.floor(visits**settings.widening))
    return [way for way in available if way.rank < width] or available
