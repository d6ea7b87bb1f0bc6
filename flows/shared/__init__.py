"""What every flow and stage shares: paths, parameters, the stage frame, the graph, processes, servers, the registry."""
