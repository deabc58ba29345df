"""The service: sources, pipeline, deadline watch, outbox, receipts, and the root that joins
them."""
