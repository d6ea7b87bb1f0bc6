"""Qanat's library: plain functions over frozen records; knows no orchestrator, tracker, environment or clock."""
