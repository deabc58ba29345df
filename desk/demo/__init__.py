"""The demo: a stage of real parts, a simulated day played through it, and the score of both.

stage   broker, InfluxDB where it is there, ledger, registry, credentials, service
play    the simulator drives the clock; the view is fed from its progress and the ledger
score   every verdict against the simulator's own truth
"""
