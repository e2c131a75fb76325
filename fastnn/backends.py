"""Switches between algorithms that differ in rounding."""

#: Winograd's algorithm for 3x3 convolutions with stride 1: faster; its error is a few times that of the direct sum.
winograd = True
