"""The search tree: nodes (states) and edges (actions from them), and what an edge's end says about its node.

Takes proposals of a policy; gives `Tree`, `Node`, `Edge`, and `Blank`, an action that is written only when a simulation
goes there. Nodes and edges change while a search runs and never leave this house: outside, a tree is its rows
(`components.search.rows`). Does not select, step or ask a model: see `components.search.mcts`.

Siblings are alternatives (OR): one good action is enough. The sub-tasks of a split all have to be done (AND). They are
searched as the environment plays them, one after the other on one stack, because a later one reads the results of the
earlier ones; every path to an answer then leads through all of them, so that a split is solved only where each of its
sub-tasks is, and is a dead end as soon as one of them is. `components.search.worth` values open sub-tasks accordingly.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from components.schema.proposal import Choice, Proposal
from components.schema.trajectory import Action, State, Transition
from components.search.worth import Worth

TOO_MANY = 2
"""Samples of a decision at a node that came out as known actions, after which no more are drawn."""


@dataclass(slots=True, eq=False)
class Edge:
    """An action from a node."""

    action: Action
    prior: float
    """P: the policy's weight of this action; sums to 1 over a node's edges."""
    rank: int
    """Place among the edges with the same decision, best prior first; progressive widening opens low ranks first."""
    context_tokens: int | None = None
    """Tokens the policy read before this action."""
    draws: int = 1
    """Samples of the policy that came out as this action."""
    visits: int = 0
    """N: simulations that went through this edge."""
    value_sum: float = 0.0
    """W: sum of the returns that those simulations backed up."""
    virtual_loss: int = 0
    """Simulations under way through this edge; each counts as a visit that returned nothing until it is backed up."""
    child: Node | None = None
    """The state after the action; None until the edge is first visited."""
    label: str | None = None
    """Its name among the root's actions where noise is drawn; None: the action itself."""

    @property
    def decision(self) -> str:
        """`answer` or a tool's name."""
        return self.action.decision

    @property
    def expandable(self) -> bool:
        """Whether a simulation may still go through here."""
        return self.child is None or self.child.expandable

    @property
    def available(self) -> bool:
        """Whether one may go now: something below is untried and not under way."""
        if self.child is None:
            return self.virtual_loss == 0
        return self.child.expandable and not self.child.blocked

    @property
    def tried(self) -> int:
        """Visits, those under way included."""
        return self.visits + self.virtual_loss

    def q(self, otherwise: float) -> float:
        """Mean return; `otherwise` where nothing was tried."""
        return self.value_sum / self.tried if self.tried else otherwise


@dataclass(slots=True, eq=False)
class Blank:
    """The next sample of a decision, not written yet: what is written depends on nothing that happens before."""

    decision: str
    mass: float
    """P of the decision, shared evenly by its samples and this one."""
    context_tokens: int | None = None
    draws: int = 0
    """Samples of the decision that were written."""
    repeats: int = 0
    """Those of them that came out as an action that was known."""
    virtual_loss: int = 0
    """1 while a simulation has it written."""
    outdone: bool = False
    """Whether no answer behind it can be cheaper than one that was found."""

    @property
    def prior(self) -> float:
        """The blank's share of its decision."""
        return self.mass / (self.draws + 1)

    @property
    def rank(self) -> int:
        """Place among the actions of the decision: the last."""
        return self.draws - self.repeats

    @property
    def label(self) -> str:
        """Its name among the root's actions where noise is drawn, also once it is written."""
        return json.dumps([self.decision, self.draws])

    @property
    def expandable(self) -> bool:
        """Whether a simulation may still have it written."""
        return not self.outdone

    @property
    def available(self) -> bool:
        """Whether a simulation may have it written now."""
        return self.virtual_loss == 0 and not self.outdone

    @property
    def tried(self) -> int:
        """Simulations under way."""
        return self.virtual_loss


@dataclass(slots=True, eq=False)
class Node:
    """A state in the tree."""

    path: tuple[int, ...]
    """Position of each edge from the root to here among its siblings; the root's is empty. Its length is the depth."""
    state: State
    transition: Transition | None
    """The action and tool results that led here; None at the root."""
    simulation: int
    """The simulation that created the node; 0 for the root."""
    worth: Worth | None = None
    """Estimate of what is to come; None where nothing is (terminal, or at the depth limit)."""
    value: float = 0.0
    """Return estimated when the node was created (exact where terminal), cost spent so far included."""
    terminal: bool = False
    """The trajectory ended here; there is nothing to expand."""
    expandable: bool = False
    """Some edge is untried, or leads to an expandable node."""
    blocked: bool = False
    """Everything expandable below is under way."""
    pruned: bool = False
    """Stopped because the chance of success was too small; its actions were never asked for."""
    audit: bool | None = None
    """Of a pruned node that was searched after all: whether a correct answer was found below."""
    success: bool | None = None
    """The judge's verdict; None where the trajectory goes on."""
    solved: bool = False
    """A correct answer was found here or below."""
    outdone: bool = False
    """Whether no answer from here can be cheaper than one that was found."""
    context_tokens: int | None = None
    """Tokens of the state; None where they were not counted before actions were proposed."""
    written_tokens: int = 0
    """Tokens that the policy wrote to propose actions here, those of equal proposals included."""
    edges: list[Edge] = field(default_factory=list)
    """The first ones best prior first, then those of further samples; none where the search stops."""
    blanks: list[Blank] = field(default_factory=list)
    """At most one a decision; none where samples are written in advance, or no more are wanted."""

    @property
    def visits(self) -> int:
        """N of the node: its own evaluation plus the visits of its edges."""
        return 1 + sum(edge.visits for edge in self.edges)

    @property
    def tried(self) -> int:
        """Visits, those under way included."""
        return 1 + sum(way.tried for way in self.ways)

    @property
    def ways(self) -> list[Edge | Blank]:
        """Everything that a simulation may follow: actions that are written, then those that are not."""
        return [*self.edges, *self.blanks]

    @property
    def dead_end(self) -> bool:
        """No correct answer was found here or below, and the search will not go on."""
        return not self.expandable and not self.solved

    def refresh(self) -> None:
        """Take over what the edges' ends say: expandable, solved and dead ends travel up by this."""
        going = not (self.outdone or self.pruned)
        self.expandable = going and any(way.expandable for way in self.ways)
        self.solved = any(edge.child is not None and edge.child.solved for edge in self.edges)
        self.blocked = not any(way.available for way in self.ways)

    def expected(self, way: Edge | Blank) -> float:
        """Return foreseen of a way: its mean; of a blank what its decision returned on average, the node's own estimate
        counted once, because its samples are drawn alike; of an edge that nobody tried the node's estimate."""
        if isinstance(way, Edge):
            return way.q(self.value)
        same = [edge for edge in self.edges if edge.decision == way.decision]
        return (self.value + sum(edge.value_sum for edge in same)) / (1 + sum(edge.tried for edge in same))


@dataclass(slots=True, eq=False)
class Tree:
    """One searched problem."""

    tree_id: str
    root: Node


def action_key(action: Action) -> str:
    """What makes two actions the same: the decision with its arguments, or the text where there is no parsed call."""
    if action.call is None:
        return json.dumps([action.decision, action.message.content.strip()])
    return json.dumps([action.decision, action.call.arguments], sort_keys=True)


def make_edges(proposals: Sequence[Proposal]) -> list[Edge]:
    """One edge a distinct action, best prior first; priors of equal actions are added, then all made to sum to 1."""
    merged: dict[str, list[Proposal]] = {}
    for proposal in proposals:
        if not (math.isfinite(proposal.prior) and proposal.prior >= 0.0):
            raise ValueError(f"prior {proposal.prior} of {proposal.action.message.content!r} is not a weight")
        merged.setdefault(action_key(proposal.action), []).append(proposal)
    weights = [(sum(same.prior for same in group), group) for group in merged.values()]
    total = sum(weight for weight, _ in weights)
    if weights and total <= 0.0:
        raise ValueError("all priors of a state are zero")
    weights.sort(key=lambda pair: -pair[0])
    return [
        Edge(group[0].action, weight / total, rank, group[0].context_tokens, draws=len(group))
        for rank, (weight, group) in zip(_ranks([group[0] for _, group in weights]), weights, strict=True)
    ]


def _ranks(ordered: Sequence[Proposal]) -> Iterator[int]:
    seen: Counter[str] = Counter()
    for proposal in ordered:
        yield seen[proposal.action.decision]
        seen[proposal.action.decision] += 1


def draws_of(node: Node, decision: str) -> int:
    """Samples of a decision drawn at the node."""
    return sum(edge.draws for edge in node.edges if edge.action.decision == decision)


def add_sample(node: Node, proposal: Proposal) -> None:
    """One more sample of a decision: a new last edge, or one more draw of the edge with the same action.

    The decision keeps its prior; the sample takes as much of it as the earlier samples have on average.
    """
    same = [edge for edge in node.edges if edge.action.decision == proposal.action.decision]
    mass, drawn = sum(edge.prior for edge in same), sum(edge.draws for edge in same)
    for edge in same:
        edge.prior *= drawn / (drawn + 1)
    key = action_key(proposal.action)
    known = next((edge for edge in same if action_key(edge.action) == key), None)
    if known is None:
        node.edges.append(Edge(proposal.action, mass / (drawn + 1), len(same), proposal.context_tokens))
    else:
        known.prior += mass / (drawn + 1)
        known.draws += 1


def make_blanks(choice: Choice) -> list[Blank]:
    """A blank a decision that is open, the likeliest first."""
    ordered = sorted(choice.probs.items(), key=lambda pair: -pair[1])
    return [Blank(decision, mass, choice.context_tokens) for decision, mass in ordered]


def fill(node: Node, blank: Blank, proposal: Proposal, *, most: int) -> Edge | None:
    """The edge of what was written in the blank, which is blank again; None where the action was known.

    A decision's blank goes once `most` samples were drawn, or `TOO_MANY` told nothing new.
    """
    same = [edge for edge in node.edges if edge.decision == blank.decision]
    key = action_key(proposal.action)
    known = next((edge for edge in same if action_key(edge.action) == key), None)
    edge = None
    if known is None:
        edge = Edge(proposal.action, 0.0, blank.rank, proposal.context_tokens, label=blank.label)
        node.edges.append(edge)
    else:
        known.draws += 1
        blank.repeats += 1
    blank.draws += 1
    if blank.draws >= most or blank.repeats >= TOO_MANY:
        node.blanks.remove(blank)
    drawn = blank.draws + (blank in node.blanks)
    for one in node.edges:
        if one.decision == blank.decision:
            one.prior = blank.mass * one.draws / drawn
    return edge


def walk(node: Node, edge: Edge | None = None) -> Iterator[tuple[Edge | None, Node]]:
    """Every node from here down, parents first, each with the edge that leads to it (None for the first)."""
    yield edge, node
    for following in node.edges:
        if following.child is not None:
            yield from walk(following.child, following)
