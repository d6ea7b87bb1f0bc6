"""Prefect, DVC and MLflow live here: user verbs, stage entry points, and what they share. Thin; computes nothing."""

import flows.shared.environ  # noqa: F401 - sets what the libraries read from the environment before any of them is imported
