"""The time series: lines made from the ledger, fed to InfluxDB, asked through named questions.

Nothing upstream waits for it. It follows the ledger by cursors, so that a database that was down
for days, or was lost, is filled again.
"""
