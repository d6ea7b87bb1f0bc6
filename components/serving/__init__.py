"""The model server: answers chat completions with registered versions of the policy."""
