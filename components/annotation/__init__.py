"""People say what the model should have done: the page they work at, its queue, and the doors rows come in by."""
