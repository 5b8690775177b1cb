"""Benchmarks: each beside the bare library it is compared with, on the same work, in one run.

``python -m bench.NAME`` prints a table and exits with 1 when a bound does not hold. Modules
that begin with an underscore are parts of them.
"""
