"""Networks of small integers: one description of each, run by NumPy (the reference), torch and ONNX Runtime alike.

Activations are 8 bits, weights at most 64 in magnitude, sums 32 bits; between layers there is a division by a power of
two, rounded half to even, and a clamp. So every number is the same on any machine: see layers.py.
"""
