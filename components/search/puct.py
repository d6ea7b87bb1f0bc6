"""Selection by PUCT (AlphaZero, Silver et al. 2018), and which edges are open to it.

Takes a node; gives the edge to follow. Left out of the textbook rule: Dirichlet noise at the root, because we look for
answers and not for opponents' replies.
"""

from __future__ import annotations

import math

from components.search.tree import Edge, Node


def best_edge(node: Node, c_puct: float) -> Edge:
    """argmax of Q + c P sqrt(N) / (1 + N_edge) over the open edges, the first on ties.

    An untried edge's Q is the node's own value estimate: there is no reason yet to think that it differs. Simulations
    under way count as visits that returned nothing (virtual loss).
    """
    tried = node.tried

    def score(edge: Edge) -> float:
        return edge.q(node.value) + c_puct * edge.prior * math.sqrt(tried) / (1 + edge.tried)

    return max(open_edges(node, tried), key=score)


def open_edges(node: Node, visits: int) -> list[Edge]:
    """The available edges among the best floor(sqrt(N)) of each decision; all available ones where these are used up.

    Progressive widening (Coulom 2007, exponent 1/2): a new argument sample is tried as its node proves worth visiting.
    """
    available = [edge for edge in node.edges if edge.available]
    width = math.isqrt(visits)
    return [edge for edge in available if edge.rank < width] or available
