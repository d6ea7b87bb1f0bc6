"""Experiments: claims, the variants of the pipeline that test them, and what is read off their evaluations."""
