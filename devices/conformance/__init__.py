"""Conformance: what an observer heard of a device, judged clause by clause. Pure."""
