"""Entropy coding of a tile's tokens without torch: the context model's pass in NumPy, tables, payloads.

The pass mirrors that of the float model (context/model.py), with networks of small integers that an engine runs
(integer/context.py). Networks get rows, gathered from 8-bit maps at the places that are coded.
"""
