"""Ours: another `tests` that is installed beside us (gmqtt brings one) must not be found first."""
