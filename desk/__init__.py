"""Every action and question of a person: one door for the command line, and later pages and HTTP."""
