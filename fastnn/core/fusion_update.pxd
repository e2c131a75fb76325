"""Updates, joined with what makes their gradient."""
from libc.stdint cimport int64_t

from fastnn.core.fusion_calls cimport drop_buffer, move_place, named, passes_straight, place_of, remove, same
from fastnn.core.recording cimport INSIDE, OUTSIDE, Place, Recording
from fastnn.kernels.native cimport FN_F64, fn_call, kernel_named
from fastnn.kernels.update cimport (
    BESIDE, MATMUL_UPDATE, UPDATE_NUMBER, UPDATED, UPDATED_BY, UPDATED_STATE, number_of_update)
from fastnn.kernels.update_pass cimport MOST_BESIDE, UPDATE_BESIDE

# size[] and slots of the kernels that take part, as their drivers in kernels/ read them.
cdef enum:
    M, N
    RS_C = 7, CS_C
    MATMUL_PACKED = 10
    MATMUL_C = 3
    VISIBLE = 2, HIDDEN                 # contrast_statistics; contrast_step has the weight in the place of its gradient
    DW = 5, STEP_HYPER = 7
    PARAMETER = 0, UPDATE_GRADIENT, HYPER

DEF FAR = 1 << 25               # bytes that an update moves, from which on they are in no cache when it comes


cdef inline object update_into_statistics(Recording recording, int i, kept):
    """Plain SGD: the weight gains its statistics as they are made; they are seen by nobody else."""
    cdef fn_call* call = &recording.calls[i].call
    cdef fn_call* after = &recording.calls[i + 1].call
    if not named(recording, i, b"contrast_statistics") or not named(recording, i + 1, b"sgd"):
        return None
    if after.dtype != call.dtype or after.size[0] != call.size[VISIBLE] * call.size[HIDDEN]:
        return None
    if not passes_straight(recording, place_of(recording, i, DW), place_of(recording, i + 1, UPDATE_GRADIENT), i, kept):
        return None
    drop_buffer(recording, place_of(recording, i, DW).which)
    call.kernel = kernel_named("contrast_step")
    move_place(recording, place_of(recording, i + 1, PARAMETER), i, DW)
    move_place(recording, place_of(recording, i + 1, HYPER), i, STEP_HYPER)
    remove(recording, i + 1)
    return "statistics + update"


# ---- an update and the product that makes its gradient --------------------------------------------------------------------

cdef inline int updates_into_products(Recording recording, list done) except -1:
    """A large update becomes part of the product that makes its gradient.

    The product is bound by arithmetic, the update by memory: what it needs is fetched while the product runs.
    """
    cdef int j = 0, product
    while j < recording.count:
        product = product_of_update(recording, j)
        if product >= 0:
            take_update_in(recording, product, j)
            done.append("matmul + update")
        else:
            j += 1
    return 0


cdef inline int product_of_update(Recording recording, int j):
    """The product that makes the gradient of update j, all of it and for nobody else before, and could as well update; or -1."""
    cdef fn_call* update = &recording.calls[j].call
    cdef Place* gradient = place_of(recording, j, UPDATE_GRADIENT)
    cdef Place* place
    cdef int i, k, slot, other
    cdef int64_t* size
    cdef set addresses = set()
    if update.bytes < FAR or number_of_update(update.kernel) < 0 or gradient.origin != INSIDE:
        return -1
    i = recording.buffers[gradient.which][1]
    size = recording.calls[i].call.size
    if not named(recording, i, b"matmul") or size[MATMUL_PACKED] or size[M] * size[N] != update.size[0]:
        return -1
    if recording.calls[i].call.dtype != update.dtype or not same(gradient, place_of(recording, i, MATMUL_C)):
        return -1
    if not (size[CS_C] == 1 and size[RS_C] == size[N]) and not (size[RS_C] == 1 and size[CS_C] == size[M]):
        return -1
    for slot in range(update.kernel.slots):
        place = place_of(recording, j, slot)
        if place.origin == OUTSIDE and slot != HYPER:
            addresses |= recording.addresses_of(place.pointer)
        elif place.origin != OUTSIDE and slot != UPDATE_GRADIENT:
            return -1
    for k in range(i, j):
        for other in range(recording.calls[k].call.kernel.slots):
            place = place_of(recording, k, other)
            if place.origin == OUTSIDE and <size_t>place.pointer in addresses:
                return -1
            if k > i and place.origin == INSIDE and place.which == gradient.which:
                return -1
    return i


cdef inline int take_update_in(Recording recording, int i, int j) except -1:
    """Product i does what update j does, which goes."""
    cdef fn_call* product = &recording.calls[i].call
    cdef fn_call* update = &recording.calls[j].call
    cdef int slot
    product.kernel = &MATMUL_UPDATE
    product.size[UPDATE_NUMBER] = number_of_update(update.kernel)
    product.flops += update.flops
    product.bytes += update.bytes
    move_place(recording, place_of(recording, j, PARAMETER), i, UPDATED)
    move_place(recording, place_of(recording, j, HYPER), i, UPDATED_BY)
    for slot in range(HYPER + 1, update.kernel.slots):
        move_place(recording, place_of(recording, j, slot), i, UPDATED_STATE + slot - HYPER - 1)
    recording.buffers[place_of(recording, i, MATMUL_C).which][2] = i
    return remove(recording, j)


# ---- updates of one kind, one behind the other -----------------------------------------------------------------------------

cdef inline int updates_together(Recording recording, list done) except -1:
    """The first of a run of updates does them all in one launch, where threads meet once."""
    cdef int i = 0, j, count
    cdef fn_call* first
    while i < recording.count:
        first, count = &recording.calls[i].call, 1
        while number_of_update(first.kernel) >= 0 and i + count < recording.count and joins(recording, i, count):
            count += 1
        if count > 1:
            first.size[UPDATE_BESIDE] = count - 1
            for j in range(i + 1, i + count):
                first.flops += recording.calls[j].call.flops
                first.bytes += recording.calls[j].call.bytes
                recording.calls[j].call.kernel, recording.calls[j].call.size[1] = &BESIDE, 1
                recording.calls[j].call.flops = recording.calls[j].call.bytes = 0
            done.append(f"{count} updates")
        i += count
    return 0


cdef inline bint joins(Recording recording, int i, int count):
    """Can the call behind updates i to before i + count be done with them: the same update, of a parameter apart from theirs?"""
    cdef fn_call* call = &recording.calls[i + count].call
    cdef fn_call* other
    cdef Place* place = place_of(recording, i + count, PARAMETER)
    cdef int64_t item = 8 if call.dtype == FN_F64 else 4, distance
    cdef int j
    if count > MOST_BESIDE or call.kernel != recording.calls[i].call.kernel or call.dtype != recording.calls[i].call.dtype:
        return False
    for j in range(i, i + count):
        other = &recording.calls[j].call
        if place.origin != OUTSIDE or place_of(recording, j, PARAMETER).origin != OUTSIDE:
            return False
        distance = <char*>place.pointer - <char*>place_of(recording, j, PARAMETER).pointer
        if -call.size[0] * item < distance < other.size[0] * item:
            return False
    return True
