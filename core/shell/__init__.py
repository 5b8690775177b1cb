"""What shell text would do, at worst.

A command line is parsed with the grammar of bash (tree-sitter-bash) and every command in it is
judged by tables: what is known to only read is L0, a few small changes are L1, what nobody may
run is L3, and everything else, above all what is not understood, is L2. Pure: no input, no
output, no clock. May import the standard library, ``core.risk``, ``core.protected`` and
tree-sitter, which no other package imports.
"""
