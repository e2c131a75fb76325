"""What follows a convolution, into its tile."""
from libc.stdint cimport int64_t

from fastnn.core.fusion_calls cimport outputs_of, passes_straight, remove
from fastnn.core.launch cimport Launch
from fastnn.core.recording cimport Place, Recording
from fastnn.kernels.conv cimport (
    NORM_, NORM_BIAS_, NORM_MEAN_, NORM_VAR_, NORM_WEIGHT_, O_, RELU_, RESIDUAL_, takes_norm, Y_)
from fastnn.kernels.native cimport FN_SLOTS
from fastnn.kernels.pointwise cimport binary_code

# size[] and slots of the kernels that take part, as their drivers in kernels/ read them.
cdef enum:
    BINARY_CODE = 0, BINARY_AXES, BINARY_N, BINARY_STEPS = 8, BINARY_OPERAND_AXES = 6, BINARY_Z = 2
    NORM_ROWS = 0, NORM_CHANNELS, NORM_INNER, NORM_RELU = 4
    EVAL_X = 0, EVAL_WEIGHT, EVAL_BIAS, EVAL_MEAN, EVAL_VAR, EVAL_Y


cdef inline object norm_into_convolution(Recording recording, int i, kept):
    """Batch norm with given statistics behind a convolution: its tile stores the normalised values."""
    cdef Launch* convolution = &recording.calls[i]
    cdef Launch* after = &recording.calls[i + 1]
    cdef int64_t* size = convolution.call.size
    cdef Place* places = &recording.places[i * FN_SLOTS]
    cdef Place* norm = &recording.places[(i + 1) * FN_SLOTS]
    cdef double eps = after.call.scalar[0]
    if convolution.call.kernel.name != b"conv_forward" or after.call.kernel.name != b"batch_norm_eval_fwd":
        return None
    if size[NORM_] or after.call.size[NORM_RELU] or size[RELU_] or places[RESIDUAL_].origin or not takes_norm(&convolution.call):
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


cdef inline object sum_into_convolution(Recording recording, int i, kept):
    """y = c + r behind a convolution that makes c, r of the same layout: its tile adds r."""
    cdef Launch* convolution = &recording.calls[i]
    cdef Launch* after = &recording.calls[i + 1]
    cdef int64_t* size = convolution.call.size
    cdef int64_t* grid = after.call.size
    cdef Place* operands = &recording.places[(i + 1) * FN_SLOTS]
    cdef Place residual
    cdef int c, other
    if convolution.call.kernel.name != b"conv_forward" or after.call.kernel.name != b"binary" or grid[BINARY_CODE] != binary_code("add"):
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


cdef inline bint same_buffer(const Place* a, const Place* b) noexcept:
    return a.origin == b.origin and a.which == b.which and a.pointer == b.pointer


cdef inline bint straight_behind(Recording recording, int i, int x, kept):
    """Does convolution i make what call i + 1 reads in slot x, and nothing else reads it?"""
    return passes_straight(recording, &recording.places[i * FN_SLOTS + Y_], &recording.places[(i + 1) * FN_SLOTS + x], i, kept)


cdef inline bint take_over(Recording recording, int i, int x, int y, kept):
    """Let convolution i write what call i + 1 makes of it, from its slot x to its slot y, and take that call out, if that can be."""
    cdef Place* read = &recording.places[(i + 1) * FN_SLOTS + x]
    if not straight_behind(recording, i, x, kept):
        return False
    recording.buffers[read.which][1] = recording.buffers[read.which][2] = -1
    recording.places[i * FN_SLOTS + Y_] = recording.places[(i + 1) * FN_SLOTS + y]
    remove(recording, i + 1)
    return True
