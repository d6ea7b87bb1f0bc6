"""The records every house speaks: costs, messages, problems, states, actions, trajectories, annotations, reports."""
