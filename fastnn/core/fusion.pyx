"""Patterns of neighbouring kernel calls that one call can do: applied to a recording before it becomes a plan.

A fused call computes the same bits as the calls it replaces.  To add a pattern, write a function that looks at calls i and
i + 1 and returns the names it joined (or None), and list it in PATTERNS.
"""
from libc.stdint cimport int64_t
from libc.string cimport memmove

from fastnn.core.launch cimport Launch
from fastnn.core.recording cimport INSIDE, Place, Recording
from fastnn.kernels.conv cimport G_, N_, O_, OUT_, RELU_
from fastnn.kernels.native cimport FN_SLOTS
from fastnn.kernels.pointwise cimport unary_code

cdef int RELU = unary_code("relu")

# size[] and slots of "matmul" (kernels/gemm.pyx), "conv_forward" (kernels/conv.pyx) and "unary" (kernels/pointwise.pyx)
cdef enum:
    M, N
    MATMUL_RELU = 9
    MATMUL_C = 3
    CONV_Y = 3
    UNARY_CODE = 0, UNARY_N, UNARY_X = 0, UNARY_Y


def fuse(Recording recording, kept, int split):
    """Apply the patterns to neighbours on the same side of `split`; `kept` are buffers that the caller reads afterwards.

    Returns what was joined, in words, and where the split is now.
    """
    cdef int i = 0
    done = []
    while i + 1 < recording.count:
        for pattern in PATTERNS:
            joined = pattern(recording, i, kept) if i + 1 != split else None
            if joined:
                done.append(joined)
                split -= i + 1 < split
                break
        i += 1
    return done, split


def relu_into_matmul(Recording recording, int i, kept):
    """y = relu(c) behind c = a b + bias, c used for nothing else: the product's tile stores y."""
    cdef Launch* product = &recording.calls[i]
    cdef Launch* after = &recording.calls[i + 1]
    cdef Place* c = &recording.places[i * FN_SLOTS + MATMUL_C]
    cdef Place* x = &recording.places[(i + 1) * FN_SLOTS + UNARY_X]
    if product.call.kernel.name != b"matmul" or after.call.kernel.name != b"unary":
        return None
    if after.call.size[UNARY_CODE] != RELU or after.call.size[UNARY_N] != product.call.size[M] * product.call.size[N]:
        return None
    if product.call.size[MATMUL_RELU] or not passes_straight(recording, c, x, i, kept):
        return None
    product.call.size[MATMUL_RELU] = 1
    c[0] = recording.places[(i + 1) * FN_SLOTS + UNARY_Y]
    recording.buffers[x.which][1] = recording.buffers[x.which][2] = -1
    remove(recording, i + 1)
    return "matmul + relu"


def relu_into_convolution(Recording recording, int i, kept):
    """y = relu(c) behind a convolution that makes c, used for nothing else: its tile stores y."""
    cdef Launch* convolution = &recording.calls[i]
    cdef Launch* after = &recording.calls[i + 1]
    cdef int64_t* size = convolution.call.size
    cdef Place* c = &recording.places[i * FN_SLOTS + CONV_Y]
    cdef Place* x = &recording.places[(i + 1) * FN_SLOTS + UNARY_X]
    if convolution.call.kernel.name != b"conv_forward" or after.call.kernel.name != b"unary":
        return None
    if after.call.size[UNARY_CODE] != RELU or size[RELU_] or not passes_straight(recording, c, x, i, kept):
        return None
    if after.call.size[UNARY_N] != size[N_] * size[G_] * size[O_] * size[OUT_] * size[OUT_ + 1] * size[OUT_ + 2]:
        return None
    size[RELU_] = 1
    c[0] = recording.places[(i + 1) * FN_SLOTS + UNARY_Y]
    recording.buffers[x.which][1] = recording.buffers[x.which][2] = -1
    remove(recording, i + 1)
    return "convolution + relu"


cdef bint passes_straight(Recording recording, Place* written, Place* read, int i, kept):
    """Is what call i writes a buffer that only call i + 1 reads?"""
    if written.origin != INSIDE or read.origin != INSIDE or written.which != read.which or written.offset != read.offset:
        return False
    _, first, last = recording.buffers[written.which]
    return first == i and last == i + 1 and written.which not in kept


cdef int remove(Recording recording, int i) except -1:
    """Take call i out; uses of buffers after it move up by one."""
    cdef int after = recording.count - i - 1
    memmove(&recording.calls[i], &recording.calls[i + 1], after * sizeof(Launch))
    memmove(&recording.places[i * FN_SLOTS], &recording.places[(i + 1) * FN_SLOTS], after * FN_SLOTS * sizeof(Place))
    recording.count -= 1
    for buffer in recording.buffers:
        if buffer[1] >= i:
            buffer[1] -= 1
        if buffer[2] >= i:
            buffer[2] -= 1
    return 0


PATTERNS = [relu_into_matmul, relu_into_convolution]
