"""Readers that one can buy: each source's own topics and payloads, put into our words. Pure.

One function a source, in one literal table (`table.ADAPTERS`); one file of golden vectors each
under `vectors/`, with the maker's page that it was taken from. docs/readers.md shows how a reader
is added.
"""
