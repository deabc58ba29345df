"""What devices say: ids, topics, messages and their bytes. Pure: no clock, socket or database."""
