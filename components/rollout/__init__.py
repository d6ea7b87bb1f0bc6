"""Problems played to the end: single trajectories (`play`) and all-actions groups (`groups`)."""

from components.rollout.play import RolloutSettings, request_of, rollout

__all__ = ["RolloutSettings", "request_of", "rollout"]
