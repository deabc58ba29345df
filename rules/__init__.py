"""What it means: calendars, plans, obligations and their judges, cases. Pure; now is an argument."""
