"""Simulated patrol handhelds, guards and faults: the devices' side of the contract, once more.

It shares no code with the service, so that a misreading on one side shows as a difference.
"""
