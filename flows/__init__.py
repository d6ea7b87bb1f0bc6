"""Qanat's verbs: the only code that knows Prefect, DVC and MLflow."""
