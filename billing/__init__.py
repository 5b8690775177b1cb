"""What IT0 costs: prices of tokens now; plans, quotas, invoices and payments later.

Pure: rules and values. It imports the standard library and ``core``, never a database, a web
framework or an edge; ``storage`` calls it inside its transactions and the composition root
wires the rest. Money is integers (a token's cost in pico-USD, 1e-12 USD), never float.
"""
