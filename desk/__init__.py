"""Every action and question of a person: one door for the command line, later pages and HTTP."""
