"""Patterns of neighbouring kernel calls that one call can do: applied to a recording before it becomes a plan.

A fused call computes the same bits as the calls it replaces.  To add a pattern, write a function that looks at calls i and
i + 1 and returns the names it joined (or None), and list it in PATTERNS.
"""
from libc.stdint cimport int64_t
from libc.string cimport memmove

from fastnn.core.launch cimport Launch
from fastnn.core.recording cimport INSIDE, Place, Recording
from fastnn.kernels.conv cimport (
    G_, N_, NORM_, NORM_BIAS_, NORM_MEAN_, NORM_VAR_, NORM_WEIGHT_, O_, OUT_, RELU_, RESIDUAL_, takes_norm, Y_)
from fastnn.kernels.native cimport FN_SLOTS
from fastnn.kernels.pointwise cimport binary_code, unary_code

cdef int RELU = unary_code("relu"), ADD = binary_code("add")

# size[] and slots of "matmul" (kernels/gemm.pyx), "unary" and "binary" (kernels/pointwise.pyx), "batch_norm_eval_fwd" (kernels/norm.pyx)
cdef enum:
    M, N
    MATMUL_RELU = 9
    MATMUL_C = 3
    UNARY_CODE = 0, UNARY_N, UNARY_X = 0, UNARY_Y
    BINARY_CODE = 0, BINARY_AXES, BINARY_N, BINARY_STEPS = 8, BINARY_OPERAND_AXES = 6, BINARY_Z = 2
    NORM_ROWS = 0, NORM_CHANNELS, NORM_INNER, EVAL_X = 0, EVAL_WEIGHT, EVAL_BIAS, EVAL_MEAN, EVAL_VAR, EVAL_Y


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
        else:
            i += 1              # nothing more to join to this call
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


cdef int64_t outputs_of(const int64_t* size):
    """Elements that a convolution makes."""
    return size[N_] * size[G_] * size[O_] * size[OUT_] * size[OUT_ + 1] * size[OUT_ + 2]


def relu_into_convolution(Recording recording, int i, kept):
    """y = relu(c) behind a convolution that makes c, used for nothing else: its tile stores y."""
    cdef Launch* convolution = &recording.calls[i]
    cdef Launch* after = &recording.calls[i + 1]
    cdef int64_t* size = convolution.call.size
    if convolution.call.kernel.name != b"conv_forward" or after.call.kernel.name != b"unary":
        return None
    if after.call.size[UNARY_CODE] != RELU or size[RELU_] or after.call.size[UNARY_N] != outputs_of(size):
        return None
    if not take_over(recording, i, UNARY_X, UNARY_Y, kept):
        return None
    size[RELU_] = 1
    return "convolution + relu"


def norm_into_convolution(Recording recording, int i, kept):
    """Batch norm with given statistics behind a convolution: its tile stores the normalised values."""
    cdef Launch* convolution = &recording.calls[i]
    cdef Launch* after = &recording.calls[i + 1]
    cdef int64_t* size = convolution.call.size
    cdef Place* places = &recording.places[i * FN_SLOTS]
    cdef Place* norm = &recording.places[(i + 1) * FN_SLOTS]
    cdef double eps = after.call.scalar[0]
    if convolution.call.kernel.name != b"conv_forward" or after.call.kernel.name != b"batch_norm_eval_fwd":
        return None
    if size[NORM_] or size[RELU_] or places[RESIDUAL_].origin or not takes_norm(&convolution.call):
        return None
    if after.call.size[NORM_CHANNELS] != size[O_] or after.call.size[NORM_INNER] != 1:
        return None
    if after.call.size[NORM_ROWS] * size[O_] != outputs_of(size):
        return None
    if not straight_behind(recording, i, EVAL_X, kept):
        return None
    places[NORM_WEIGHT_], places[NORM_BIAS_] = norm[EVAL_WEIGHT], norm[EVAL_BIAS]
    places[NORM_MEAN_], places[NORM_VAR_] = norm[EVAL_MEAN], norm[EVAL_VAR]
    take_over(recording, i, EVAL_X, EVAL_Y, kept)
    size[NORM_], convolution.call.scalar[0] = 1, eps
    return "convolution + batch norm"


def sum_into_convolution(Recording recording, int i, kept):
    """y = c + r behind a convolution that makes c, r of the same layout: its tile adds r."""
    cdef Launch* convolution = &recording.calls[i]
    cdef Launch* after = &recording.calls[i + 1]
    cdef int64_t* size = convolution.call.size
    cdef int64_t* grid = after.call.size
    cdef Place* operands = &recording.places[(i + 1) * FN_SLOTS]
    cdef Place residual
    cdef int c, other
    if convolution.call.kernel.name != b"conv_forward" or after.call.kernel.name != b"binary" or grid[BINARY_CODE] != ADD:
        return None
    if size[RELU_] or recording.places[i * FN_SLOTS + RESIDUAL_].origin or not takes_norm(&convolution.call):
        return None
    if grid[BINARY_AXES] != 1 or grid[BINARY_N] != outputs_of(size):
        return None
    if grid[BINARY_STEPS] != 1 or grid[BINARY_STEPS + BINARY_OPERAND_AXES] != 1:
        return None
    for c in range(2):
        other = 1 - c
        residual = operands[other]
        if same_buffer(&operands[c], &residual) or same_buffer(&operands[BINARY_Z], &residual):
            continue
        if take_over(recording, i, c, BINARY_Z, kept):
            recording.places[i * FN_SLOTS + RESIDUAL_] = residual
            return "convolution + sum"
    return None


cdef bint same_buffer(const Place* a, const Place* b):
    return a.origin == b.origin and a.which == b.which and a.pointer == b.pointer


cdef bint straight_behind(Recording recording, int i, int x, kept):
    """Does convolution i make what call i + 1 reads in slot x, and nothing else reads it?"""
    return passes_straight(recording, &recording.places[i * FN_SLOTS + Y_], &recording.places[(i + 1) * FN_SLOTS + x], i, kept)


cdef bint take_over(Recording recording, int i, int x, int y, kept):
    """Let convolution i write what call i + 1 makes of it, from its slot x to its slot y, and take that call out, if that can be."""
    cdef Place* read = &recording.places[(i + 1) * FN_SLOTS + x]
    if not straight_behind(recording, i, x, kept):
        return False
    recording.buffers[read.which][1] = recording.buffers[read.which][2] = -1
    recording.places[i * FN_SLOTS + Y_] = recording.places[(i + 1) * FN_SLOTS + y]
    remove(recording, i + 1)
    return True


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


PATTERNS = [relu_into_matmul, relu_into_convolution, norm_into_convolution, sum_into_convolution]
