"""Relu behind the call that makes its input, and its gradient beside the call that takes it further."""
from libc.stdint cimport int64_t

from fastnn.core.fusion_calls cimport drop_buffer, move_place, named, outputs_of, passes_straight, place_of, remove, same, written_between
from fastnn.core.recording cimport Place, Recording
from fastnn.kernels.conv cimport RELU_, Y_
from fastnn.kernels.native cimport fn_call
from fastnn.kernels.pointwise cimport unary_code

# size[] and slots of the kernels that take part, as their drivers in kernels/ read them.
cdef enum:
    M, N
    MATMUL_RELU = 9, MATMUL_C = 3
    UNARY_CODE = 0, UNARY_N, UNARY_X = 0, UNARY_Y
    SAVED = 0, GRADIENT, DX             # unary_gradient
    NORM_ROWS = 0, NORM_CHANNELS, NORM_INNER, NORM_RELU = 4
    EVAL_Y = 5                          # batch_norm_eval_fwd
    TRAIN_Y = 8                         # batch_norm_fwd
    NORM_G = 4, NORM_GATE = 8           # batch_norm_bwd
    POOL_X = 0, POOL_Y, POOL_INDEX
    POOL_BACK_INDEX = 1, POOL_DX, POOL_GATE


cdef inline object relu_into_matmul(Recording recording, int i, kept):
    """The product's tile stores max(0, c)."""
    cdef int64_t* size = recording.calls[i].call.size
    if named(recording, i, b"matmul") and not size[MATMUL_RELU] and relu_follows(recording, i, MATMUL_C, size[M] * size[N], kept):
        size[MATMUL_RELU] = 1
        take_relu_in(recording, i, MATMUL_C)
        return "matmul + relu"


cdef inline object relu_into_convolution(Recording recording, int i, kept):
    """The convolution's tile stores max(0, y)."""
    cdef int64_t* size = recording.calls[i].call.size
    if named(recording, i, b"conv_forward") and not size[RELU_] and relu_follows(recording, i, Y_, outputs_of(size), kept):
        size[RELU_] = 1
        take_relu_in(recording, i, Y_)
        return "convolution + relu"


cdef inline object relu_into_batch_norm(Recording recording, int i, kept):
    """The normalisation's last pass stores max(0, y)."""
    cdef int64_t* size = recording.calls[i].call.size
    cdef int y = TRAIN_Y if named(recording, i, b"batch_norm_fwd") else EVAL_Y
    if y == EVAL_Y and not named(recording, i, b"batch_norm_eval_fwd"):
        return None
    if size[NORM_INNER] == 1 and not size[NORM_RELU] and relu_follows(recording, i, y, size[NORM_ROWS] * size[NORM_CHANNELS], kept):
        size[NORM_RELU] = 1
        take_relu_in(recording, i, y)
        return "batch norm + relu"


cdef inline bint relu_follows(Recording recording, int i, int slot, int64_t count, kept):
    """Is call i + 1 the relu of all that call i writes: in place, or into new memory while nothing else reads the old?"""
    cdef fn_call* after = &recording.calls[i + 1].call
    cdef Place* made = place_of(recording, i, slot)
    cdef Place* x = place_of(recording, i + 1, UNARY_X)
    if not named(recording, i + 1, b"unary") or after.size[UNARY_CODE] != unary_code("relu") or after.size[UNARY_N] != count:
        return False
    return same(made, x) and (same(x, place_of(recording, i + 1, UNARY_Y)) or passes_straight(recording, made, x, i, kept))


cdef inline int take_relu_in(Recording recording, int i, int slot) except -1:
    """Call i writes what the relu behind it would."""
    cdef Place* made = place_of(recording, i, slot)
    cdef Place* y = place_of(recording, i + 1, UNARY_Y)
    if not same(made, y):
        drop_buffer(recording, made.which)
        made[0] = y[0]
    return remove(recording, i + 1)


cdef inline object relu_gradient_into_batch_norm(Recording recording, int i, kept):
    """dx = g where the relu's output is positive, read only by the normalisation's backward: it looks at the output itself."""
    cdef int64_t* size = recording.calls[i + 1].call.size
    if not named(recording, i + 1, b"batch_norm_bwd") or size[NORM_INNER] != 1 or place_of(recording, i + 1, NORM_GATE).origin:
        return None
    if not is_relu_gradient(recording, i, size[NORM_ROWS] * size[NORM_CHANNELS]):
        return None
    if not passes_straight(recording, place_of(recording, i, DX), place_of(recording, i + 1, NORM_G), i, kept):
        return None
    drop_buffer(recording, place_of(recording, i, DX).which)
    move_place(recording, place_of(recording, i, GRADIENT), i + 1, NORM_G)
    move_place(recording, place_of(recording, i, SAVED), i + 1, NORM_GATE)
    remove(recording, i)
    return "relu gradient + batch norm gradient"


cdef inline object relu_gradient_into_max_pool(Recording recording, int i, kept):
    """dx of max pooling behind a relu goes through where the pooled maximum is positive: the relu's output at that place."""
    cdef fn_call* call = &recording.calls[i].call
    cdef fn_call* forward
    cdef Place* dx = place_of(recording, i, POOL_DX)
    cdef int j
    if not named(recording, i, b"max_pool_backward") or place_of(recording, i, POOL_GATE).origin:
        return None
    if not named(recording, i + 1, b"unary_gradient"):
        return None
    for j in range(i):
        if named(recording, j, b"max_pool") and same(place_of(recording, j, POOL_INDEX), place_of(recording, i, POOL_BACK_INDEX)):
            break
    else:
        return None
    forward = &recording.calls[j].call
    if not is_relu_gradient(recording, i + 1, call.size[0] * call.size[1] * call.size[2] * call.size[3] * call.size[4]):
        return None
    if forward.dtype != call.dtype or not same(place_of(recording, j, POOL_X), place_of(recording, i + 1, SAVED)):
        return None
    if not passes_straight(recording, dx, place_of(recording, i + 1, GRADIENT), i, kept):
        return None
    if written_between(recording, place_of(recording, j, POOL_X), j, i) or written_between(recording, place_of(recording, j, POOL_Y), j, i):
        return None
    move_place(recording, place_of(recording, j, POOL_Y), i, POOL_GATE)
    drop_buffer(recording, dx.which)
    dx[0] = place_of(recording, i + 1, DX)[0]
    remove(recording, i + 1)
    return "max pool gradient + relu gradient"


cdef inline bint is_relu_gradient(Recording recording, int i, int64_t count):
    cdef fn_call* call = &recording.calls[i].call
    return named(recording, i, b"unary_gradient") and call.size[UNARY_CODE] == unary_code("relu") and call.size[UNARY_N] == count
