"""Tells a kernel of four times the elements its arrays have: under AddressSanitizer this must not pass unnoticed."""
import numpy as np

import fastnn.kernels.gemm  # noqa: F401  declares the kernel
from fastnn.kernels import native

claimed = 64
a, b, c = (np.ones((claimed // 2, claimed // 2), np.float32) for _ in range(3))
native.call("matmul", [a, b, None, c], [claimed, claimed, claimed, claimed, 1, claimed, 1, claimed, 1, 0])
