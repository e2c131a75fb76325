"""Dropout behind batch norm, or behind the relu that is already part of it; and where gradients of batch norm lie."""
from libc.stdint cimport int64_t

from fastnn.core.fusion_calls cimport drop_buffer, move_place, named, passes_straight, place_of, remove, same
from fastnn.core.recording cimport ABSENT, INSIDE, Place, Recording
from fastnn.kernels.native cimport FN_F64, fn_call, table
from fastnn.kernels.norm cimport FN_NORM_CHANNELS
from fastnn.kernels.stage cimport STREAM_BYTES

# size[] and slots of the kernels that take part, as their drivers in kernels/ read them.
cdef enum:
    NORM_ROWS = 0, NORM_CHANNELS, NORM_INNER, NORM_EVAL, NORM_RELU
    TRAIN_MEAN = 6, TRAIN_Y = 8, TRAIN_RNG, TRAIN_MASK                          # batch_norm_fwd
    NORM_MEAN = 2, NORM_G = 4, NORM_DX, NORM_GATE = 8, NORM_MASK                # batch_norm_bwd
    DROP_N = 0, DROP_INNER, DROP_RNG = 0, DROP_X, DROP_Y, DROP_DRAW             # dropout
    DROP_BACK_DRAW = 0, DROP_BACK_G, DROP_BACK_DX                               # dropout_gradient


cdef inline int dropouts_into_batch_norms(Recording recording, kept, int split, list done) except -2:
    """Batch norm's passes do what dropout and its gradient would, and a mask of two bits per element says what the gradient needs:
    neither the relu's output nor the draws again.  Returns where the split is now.
    """
    cdef int i = 0, k
    cdef int64_t lanes, pieces
    cdef fn_call* forward
    cdef fn_call* back
    cdef Place mask
    while i + 1 < recording.count:
        k = dropout_of(recording, i, kept) if i + 1 != split else -1
        if k < 0:
            i += 1
            continue
        forward, back = &recording.calls[k - 1].call, &recording.calls[i + 1].call
        lanes = table.vector_bytes // (8 if forward.dtype == FN_F64 else 4)
        mask.origin, mask.which, mask.offset, mask.pointer = INSIDE, len(recording.buffers), 0, NULL
        pieces = (forward.size[NORM_CHANNELS] + FN_NORM_CHANNELS - 1) // FN_NORM_CHANNELS
        recording.buffers.append([4 * forward.size[NORM_ROWS] * pieces * (FN_NORM_CHANNELS // lanes), k - 1, i + 1])
        recording.starts.append(0)
        forward.scalar[2], forward.scalar[3] = recording.calls[k].call.scalar[0], recording.calls[k].call.scalar[1]
        forward.flops, forward.bytes = forward.flops + recording.calls[k].call.flops, forward.bytes + recording.calls[k].call.bytes
        back.scalar[1] = recording.calls[i].call.scalar[1]
        drop_buffer(recording, place_of(recording, k - 1, TRAIN_Y).which)
        drop_buffer(recording, place_of(recording, k, DROP_DRAW).which)
        drop_buffer(recording, place_of(recording, i, DROP_BACK_DX).which)
        place_of(recording, k - 1, TRAIN_Y)[0] = place_of(recording, k, DROP_Y)[0]
        place_of(recording, k - 1, TRAIN_RNG)[0] = place_of(recording, k, DROP_RNG)[0]
        move_place(recording, &mask, k - 1, TRAIN_MASK)
        move_place(recording, place_of(recording, i, DROP_BACK_G), i + 1, NORM_G)
        move_place(recording, &mask, i + 1, NORM_MASK)
        place_of(recording, i + 1, NORM_GATE).origin = ABSENT
        back.slot[NORM_GATE] = NULL
        remove(recording, i)
        remove(recording, k)
        split -= (i < split) + (k < split)
        done.append("batch norm + dropout")
        i -= 1
    return split


cdef inline int dropout_of(Recording recording, int i, kept) except -2:
    """Call i, dropout's gradient, goes into that of a batch norm behind it: the dropout itself, that norm before it; or -1."""
    cdef fn_call* call = &recording.calls[i].call
    cdef fn_call* back = &recording.calls[i + 1].call
    cdef fn_call* forward
    cdef Place* r
    cdef Place* draw = place_of(recording, i, DROP_BACK_DRAW)
    cdef Place* gate = place_of(recording, i + 1, NORM_GATE)
    cdef int k
    cdef int64_t count = back.size[NORM_ROWS] * back.size[NORM_CHANNELS]
    if not named(recording, i, b"dropout_gradient") or not named(recording, i + 1, b"batch_norm_bwd") or call.size[DROP_INNER] > 1:
        return -1
    if back.size[NORM_INNER] != 1 or back.size[NORM_EVAL] or call.size[DROP_N] != count or call.dtype != back.dtype:
        return -1
    if count * (8 if call.dtype == FN_F64 else 4) >= STREAM_BYTES:      # passes past the caches do not know a mask
        return -1
    if not passes_straight(recording, place_of(recording, i, DROP_BACK_DX), place_of(recording, i + 1, NORM_G), i, kept):
        return -1
    if draw.origin != INSIDE or draw.which in kept or readers(recording, draw.which) != 2:
        return -1
    k = recording.buffers[draw.which][1]
    if k < 1 or not named(recording, k, b"dropout") or not named(recording, k - 1, b"batch_norm_fwd"):
        return -1
    forward, r = &recording.calls[k - 1].call, place_of(recording, k - 1, TRAIN_Y)
    if not same(place_of(recording, k, DROP_DRAW), draw) or not same(r, place_of(recording, k, DROP_X)) or r.which in kept:
        return -1
    if not same(place_of(recording, k - 1, TRAIN_MEAN), place_of(recording, i + 1, NORM_MEAN)) or forward.dtype != call.dtype:
        return -1
    if forward.size[NORM_INNER] != 1 or forward.size[NORM_ROWS] * forward.size[NORM_CHANNELS] != count:
        return -1
    if forward.size[NORM_RELU]:
        return k if same(r, gate) and readers(recording, r.which) == 3 else -1
    return k if not gate.origin and readers(recording, r.which) == 2 else -1


cdef inline int batch_norm_gradients_in_place(Recording recording, kept) except -1:
    """dx of a batch norm over rows takes the memory of g, if nobody reads g afterwards: it is in a cache already."""
    cdef int i, j, slot
    cdef Place* g
    cdef Place dx
    for i in range(recording.count):
        if not named(recording, i, b"batch_norm_bwd") or recording.calls[i].call.size[NORM_INNER] != 1:
            continue
        g, dx = place_of(recording, i, NORM_G), place_of(recording, i, NORM_DX)[0]
        if g.origin != INSIDE or dx.origin != INSIDE or g.offset or dx.offset or g.which == dx.which:
            continue
        before, after = recording.buffers[g.which], recording.buffers[dx.which]
        if before[2] != i or after[1] != i or before[0] != after[0] or g.which in kept or dx.which in kept:
            continue
        for j in range(i, recording.count):
            for slot in range(recording.calls[j].call.kernel.slots):
                if place_of(recording, j, slot).origin == INSIDE and place_of(recording, j, slot).which == dx.which:
                    place_of(recording, j, slot).which = g.which
        before[2] = after[2]
        drop_buffer(recording, dx.which)
    return 0


cdef inline int readers(Recording recording, int which):
    """Slots of all calls that lie in that buffer."""
    cdef int i, slot, found = 0
    for i in range(recording.count):
        for slot in range(recording.calls[i].call.kernel.slots):
            found += place_of(recording, i, slot).origin == INSIDE and place_of(recording, i, slot).which == which
    return found
