"""What is kept: the ledger (tables, queries, migrations, registry) and the time series made from
it."""
