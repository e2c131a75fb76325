"""Patterns of neighbouring kernel calls that one call can do: applied to a recording before it becomes a plan.

A fused call computes the same bits as the calls it replaces.  To add a pattern, write a function that looks at calls i and
i + 1 and returns the names it joined (or None), and list it in PATTERNS.  Updates, which are no neighbours of what makes their
gradients, are joined afterwards.
"""
from libc.stdint cimport int64_t
from libc.string cimport memmove, strcmp

from fastnn.core.launch cimport Launch
from fastnn.core.recording cimport ABSENT, INSIDE, OUTSIDE, Place, Recording
from fastnn.kernels.conv cimport (
    G_, N_, NORM_, NORM_BIAS_, NORM_MEAN_, NORM_VAR_, NORM_WEIGHT_, O_, OUT_, RELU_, RESIDUAL_, takes_norm, Y_)
from fastnn.kernels.native cimport FN_F64, FN_IN, FN_SLOTS, fn_call, kernel_named, table
from fastnn.kernels.norm cimport FN_NORM_CHANNELS
from fastnn.kernels.stage cimport STREAM_BYTES
from fastnn.kernels.update cimport MATMUL_UPDATE, UPDATE_NUMBER, UPDATED, UPDATED_BY, UPDATED_STATE, number_of_update
from fastnn.kernels.pointwise cimport binary_code, unary_code

cdef int RELU = unary_code("relu"), ADD = binary_code("add")

# size[] and slots of the kernels that take part, as their drivers in kernels/ read them.
cdef enum:
    M, N
    RS_C = 7, CS_C
    MATMUL_RELU
    MATMUL_PACKED
    MATMUL_C = 3
    UNARY_CODE = 0, UNARY_N, UNARY_X = 0, UNARY_Y
    SAVED = 0, GRADIENT, DX             # unary_gradient
    BINARY_CODE = 0, BINARY_AXES, BINARY_N, BINARY_STEPS = 8, BINARY_OPERAND_AXES = 6, BINARY_Z = 2
    NORM_ROWS = 0, NORM_CHANNELS, NORM_INNER, NORM_RELU = 4
    EVAL_X = 0, EVAL_WEIGHT, EVAL_BIAS, EVAL_MEAN, EVAL_VAR, EVAL_Y
    TRAIN_X = 0, TRAIN_MEAN = 6, TRAIN_Y = 8, TRAIN_RNG, TRAIN_MASK                         # batch_norm_fwd
    NORM_X = 0, NORM_MEAN = 2, NORM_G = 4, NORM_DX, NORM_GATE = 8, NORM_MASK, NORM_EVAL = 3  # batch_norm_bwd
    DROP_N = 0, DROP_INNER, DROP_RNG = 0, DROP_X, DROP_Y, DROP_DRAW                         # dropout
    DROP_BACK_DRAW = 0, DROP_BACK_G, DROP_BACK_DX                                           # dropout_gradient
    POOL_X = 0, POOL_Y, POOL_INDEX
    POOL_BACK_INDEX = 1, POOL_DX, POOL_GATE
    VISIBLE = 2, HIDDEN                 # contrast_statistics; contrast_step has the weight in the place of its gradient
    DW = 5, STEP_HYPER = 7
    PARAMETER = 0, UPDATE_GRADIENT, HYPER

DEF FAR = 1 << 25               # bytes that an update moves, from which on they are in no cache when it comes


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
    split = dropouts_into_batch_norms(recording, kept, split, done)
    batch_norm_gradients_in_place(recording, kept)
    if split < 0:
        updates_into_products(recording, done)
    return done, split


# ---- relu behind the call that makes its input -------------------------------------------------------------------------

def relu_into_matmul(Recording recording, int i, kept):
    """The product's tile stores max(0, c)."""
    cdef int64_t* size = recording.calls[i].call.size
    if named(recording, i, b"matmul") and not size[MATMUL_RELU] and relu_follows(recording, i, MATMUL_C, size[M] * size[N], kept):
        size[MATMUL_RELU] = 1
        take_relu_in(recording, i, MATMUL_C)
        return "matmul + relu"


def relu_into_convolution(Recording recording, int i, kept):
    """The convolution's tile stores max(0, y)."""
    cdef int64_t* size = recording.calls[i].call.size
    if named(recording, i, b"conv_forward") and not size[RELU_] and relu_follows(recording, i, Y_, outputs_of(size), kept):
        size[RELU_] = 1
        take_relu_in(recording, i, Y_)
        return "convolution + relu"


def relu_into_batch_norm(Recording recording, int i, kept):
    """The normalisation's last pass stores max(0, y)."""
    cdef int64_t* size = recording.calls[i].call.size
    cdef int y = TRAIN_Y if named(recording, i, b"batch_norm_fwd") else EVAL_Y
    if y == EVAL_Y and not named(recording, i, b"batch_norm_eval_fwd"):
        return None
    if size[NORM_INNER] == 1 and not size[NORM_RELU] and relu_follows(recording, i, y, size[NORM_ROWS] * size[NORM_CHANNELS], kept):
        size[NORM_RELU] = 1
        take_relu_in(recording, i, y)
        return "batch norm + relu"


cdef bint relu_follows(Recording recording, int i, int slot, int64_t count, kept):
    """Is call i + 1 the relu of all that call i writes: in place, or into new memory while nothing else reads the old?"""
    cdef fn_call* after = &recording.calls[i + 1].call
    cdef Place* made = place_of(recording, i, slot)
    cdef Place* x = place_of(recording, i + 1, UNARY_X)
    if not named(recording, i + 1, b"unary") or after.size[UNARY_CODE] != RELU or after.size[UNARY_N] != count:
        return False
    return same(made, x) and (same(x, place_of(recording, i + 1, UNARY_Y)) or passes_straight(recording, made, x, i, kept))


cdef int take_relu_in(Recording recording, int i, int slot) except -1:
    """Call i writes what the relu behind it would."""
    cdef Place* made = place_of(recording, i, slot)
    cdef Place* y = place_of(recording, i + 1, UNARY_Y)
    if not same(made, y):
        drop_buffer(recording, made.which)
        made[0] = y[0]
    return remove(recording, i + 1)


# ---- what follows a convolution, into its tile -----------------------------------------------------------------------------

cdef int64_t outputs_of(const int64_t* size):
    """Elements that a convolution makes."""
    return size[N_] * size[G_] * size[O_] * size[OUT_] * size[OUT_ + 1] * size[OUT_ + 2]


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


# ---- relu's gradient before the call that takes it further ---------------------------------------------------------------

def relu_gradient_into_batch_norm(Recording recording, int i, kept):
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


def relu_gradient_into_max_pool(Recording recording, int i, kept):
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


cdef bint is_relu_gradient(Recording recording, int i, int64_t count):
    cdef fn_call* call = &recording.calls[i].call
    return named(recording, i, b"unary_gradient") and call.size[UNARY_CODE] == RELU and call.size[UNARY_N] == count


# ---- dropout behind batch norm, or behind the relu that is already part of it ----------------------------------------------

cdef int dropouts_into_batch_norms(Recording recording, kept, int split, list done) except -2:
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


cdef int dropout_of(Recording recording, int i, kept) except -2:
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


cdef int batch_norm_gradients_in_place(Recording recording, kept) except -1:
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


cdef int readers(Recording recording, int which):
    """Slots of all calls that lie in that buffer."""
    cdef int i, slot, found = 0
    for i in range(recording.count):
        for slot in range(recording.calls[i].call.kernel.slots):
            found += place_of(recording, i, slot).origin == INSIDE and place_of(recording, i, slot).which == which
    return found


# ---- statistics of a Boltzmann machine and the weight's update by them ---------------------------------------------------

def update_into_statistics(Recording recording, int i, kept):
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

cdef int updates_into_products(Recording recording, list done) except -1:
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


cdef int product_of_update(Recording recording, int j):
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


cdef int take_update_in(Recording recording, int i, int j) except -1:
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


# ---- records, places and buffers -----------------------------------------------------------------------------------------

cdef inline bint named(Recording recording, int i, const char* name) noexcept:
    return strcmp(recording.calls[i].call.kernel.name, name) == 0


cdef inline Place* place_of(Recording recording, int i, int slot) noexcept:
    return &recording.places[i * FN_SLOTS + slot]


cdef inline bint same(const Place* a, const Place* b) noexcept:
    return a.origin == INSIDE and b.origin == INSIDE and a.which == b.which and a.offset == b.offset


cdef bint passes_straight(Recording recording, Place* written, Place* read, int i, kept):
    """Is what call i writes a buffer that only call i + 1 reads?"""
    if not same(written, read):
        return False
    _, first, last = recording.buffers[written.which]
    return first == i and last == i + 1 and written.which not in kept


cdef bint written_between(Recording recording, const Place* place, int first, int stop):
    """Does any call after `first` and before `stop` write into that buffer?"""
    cdef int i, slot
    for i in range(first + 1, stop):
        for slot in range(recording.calls[i].call.kernel.slots):
            if (recording.calls[i].call.kernel.role[slot] != FN_IN and place_of(recording, i, slot).origin == INSIDE
                    and place_of(recording, i, slot).which == place.which):
                return True
    return False


cdef int move_place(Recording recording, const Place* place, int i, int slot) except -1:
    """Call i also reads what lies at `place`."""
    recording.places[i * FN_SLOTS + slot] = place[0]
    recording.calls[i].call.slot[slot] = NULL       # the plan fills it
    if place.origin == INSIDE:
        buffer = recording.buffers[place.which]
        buffer[2] = max(buffer[2], i)
    return 0


cdef int drop_buffer(Recording recording, int which) except -1:
    recording.buffers[which][1] = recording.buffers[which][2] = -1
    return 0


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


PATTERNS = [relu_into_matmul, relu_into_convolution, norm_into_convolution, sum_into_convolution, relu_into_batch_norm,
            relu_gradient_into_batch_norm, relu_gradient_into_max_pool, update_into_statistics]
