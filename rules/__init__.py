"""What it means: calendars, plans, obligations, judges, cases. Pure: now is an argument."""
