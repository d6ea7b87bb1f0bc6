"""What a new node gets: its value, and the actions that are open there.

Takes nodes and the verbs; changes the nodes: the judge's word where a node ended, else an estimate, and blanks or
written edges unless it is a dead end. Chooses no way and backs nothing up: see `components.search.mcts`.
"""

from __future__ import annotations

from collections.abc import Sequence

from components.environment.step import stop_reason
from components.schema.identity import child_seed
from components.schema.proposal import ProposalRequest
from components.schema.trajectory import StopReason
from components.search.settings import SelfplaySettings
from components.search.tree import Node, add_sample, draws_of, make_blanks, make_edges
from components.search.verbs import Verbs


def evaluate(
    nodes: Sequence[Node], verbs: Verbs, settings: SelfplaySettings, *, wider: Sequence[tuple[Node, str]] = ()
) -> None:
    """Give each new node its value (the judge's word where it ended, else the estimate) and, if it goes on, edges.

    Nodes whose chance is too small are pruned: they get no edges. Those in `wider` get one more sample of a decision.
    """
    going = [node for node in nodes if not is_over(node, settings)]
    for node in nodes:
        if node.state.done:
            node.terminal, node.success = True, is_success(node, verbs)
            node.solved = node.success
        node.value = net_return(float(node.solved), node, verbs, settings)
    for node, worth in zip(going, verbs.value([node.state for node in going]) if going else (), strict=True):
        node.worth, node.pruned = worth, bool(node.path) and worth.chance < settings.prune_below
        node.value = net_return(worth.chance, node, verbs, settings, to_go=worth.cost_to_go)
    if settings.arguments_per_tool == 0:
        offer(going, verbs)
    else:
        ask([node for node in going if not node.pruned], wider, verbs, settings)


def offer(nodes: Sequence[Node], verbs: Verbs) -> None:
    """Give each node, unless it is pruned, a blank for every decision that is open to the policy.

    Raises:
        ValueError: the verbs do not decide.
    """
    if verbs.decide is None:
        raise ValueError("there is no verb `decide`: without it, arguments are written in advance (arguments_per_tool)")
    choices = verbs.decide([node.state for node in nodes]) if nodes else ()
    for node, choice in zip(nodes, choices, strict=True):
        node.context_tokens = choice.context_tokens
        node.blanks = [] if node.pruned else make_blanks(choice)
        node.refresh()


def ask(nodes: Sequence[Node], wider: Sequence[tuple[Node, str]], verbs: Verbs, settings: SelfplaySettings) -> None:
    """Ask the model once, in advance: for the edges of all nodes, and for the further samples."""
    requests = [ProposalRequest(node.state, seed_of(node, settings)) for node in nodes]
    requests += [
        ProposalRequest(n.state, seed_of(n, settings), decision, draws_of(n, decision)) for n, decision in wider
    ]
    answers = verbs.propose(requests) if requests else ()
    asked = [*nodes, *(node for node, _ in wider)]
    for node, request, proposals in zip(asked, requests, answers, strict=True):
        node.written_tokens += sum(proposal.action.tokens_written for proposal in proposals)
        if request.decision is None:
            node.edges = make_edges(proposals)
        else:
            for proposal in proposals:
                add_sample(node, proposal)
        node.refresh()


def seed_of(node: Node, settings: SelfplaySettings) -> int:
    """The seed of what is written at the node; the same however the search came there."""
    return child_seed(settings.seed, node.state.problem.problem_id, *node.path)


def is_success(node: Node, verbs: Verbs) -> bool:
    """Whether a finished node ends in a correct answer; broken turns and spent budgets are failures."""
    if node.transition is None or stop_reason(node.state, (node.transition,)) is not StopReason.ANSWERED:
        return False
    return verbs.judge(node.state.problem, node.transition.action.message.content.strip())


def net_return(chance: float, node: Node, verbs: Verbs, settings: SelfplaySettings, *, to_go: float = 0.0) -> float:
    """V = p-hat - lambda (spent + C-hat), in [-lambda * C_max, 1]: success minus the price of everything on the way."""
    return chance - settings.price_lambda * (verbs.units(node.state.spent) + to_go)


def is_over(node: Node, settings: SelfplaySettings) -> bool:
    """Whether nothing may be done at the node any more: it ended, or it lies as deep as a tree may go."""
    return node.state.done or len(node.path) >= settings.max_depth
