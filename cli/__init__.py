"""The operators' commands, thin."""
