"""One layer of a recurrent network over a whole sequence, in one or both directions, with its gradient."""
cimport cython
cimport numpy as np
from libc.stdint cimport int64_t

import numpy as np

import fastnn.kernels.gemm  # no-cython-lint: declares the kernels
import fastnn.kernels.recurrent  # no-cython-lint
import fastnn.kernels.recurrent_gradient  # no-cython-lint
import fastnn.kernels.recurrent_weights  # no-cython-lint

from fastnn.core.launch cimport Launch, begin, fn_dtype_of, host_call, launch, put
from fastnn.core.storage cimport Storage, empty, empty_1d, empty_2d
from fastnn.core.tape cimport Node, changed
from fastnn.core.tensor cimport Tensor, attach_outputs, grad_enabled, wants, wrap
from fastnn.kernels.native cimport fn_kernel, kernel_named
from fastnn.ops.arguments cimport check_real, check_same_dtype
from fastnn.ops.layout cimport contiguous
from fastnn.ops.linear cimport product_into

from fastnn.ops.promotion import misfit

np.import_array()

cdef const fn_kernel* RECURRENT = kernel_named("recurrent")
cdef const fn_kernel* RECURRENT_GRADIENT = kernel_named("recurrent_gradient")
cdef const fn_kernel* RECURRENT_WEIGHTS = kernel_named("recurrent_weights")

KINDS = {"RNN_TANH": 0, "RNN_RELU": 1, "LSTM": 2, "GRU": 3}
cdef enum:
    LSTM = 2
    GRU = 3
cdef int[4] GATES = [1, 1, 4, 3]

# size[] of the kernels, as in kernels/recurrent_walk.pxd
cdef enum:
    KIND, STEPS, BATCH, HIDDEN, OUT_WIDTH, REVERSE, H_STRIDE, W_ROW, W_COLUMN, P_ROW, P_COLUMN, DH_STRIDE, INPUTS, I_ROW, I_COLUMN


cdef class Layer:
    """Sizes and saved arrays of one layer: what forward leaves for backward."""
    cdef int kind, directions
    cdef int64_t T, B, inputs, H, P, rows
    cdef object sizes           # rows per step of packed sequences (int64), or None
    cdef np.ndarray x, out, h0, c0
    cdef list weights           # per direction: [w_ih, w_hh, b_ih, b_hh, w_hr], None where absent
    cdef list gates, states, unprojected
    cdef list watched, seen     # the memory of what backward reads, and its versions

    cdef int watch(self, Tensor t) except -1:
        cdef Storage storage
        if t is not None:
            storage = t.storage()
            self.watched.append(storage)
            self.seen.append(storage.version)
        return 0


cdef dict zero_blocks = {}

cdef np.ndarray zeros(int64_t n, int64_t m, int typenum):
    """Read-only zeros (1, n, m) from one shared block per dtype."""
    block = zero_blocks.get(typenum)
    if block is None or block.size < n * m:
        block = np.zeros(max(n * m, 4096), np.float64 if typenum == np.NPY_FLOAT64 else np.float32)
        block.flags.writeable = False
        zero_blocks[typenum] = block
    return block[:n * m].reshape(n, m)


cdef np.ndarray as_rows(np.ndarray a, np.npy_intp rows, np.npy_intp columns):
    cdef np.npy_intp[2] shape
    cdef np.PyArray_Dims dims
    shape[0], shape[1] = rows, columns
    dims.ptr, dims.len = shape, 2
    return a if np.PyArray_NDIM(a) == 2 else np.PyArray_Newshape(a, &dims, np.NPY_CORDER)


cdef np.ndarray part(Layer layer, np.ndarray states, int direction):
    """What one direction has of (directions, B, width); with a single direction there is nothing to cut."""
    return states if states is None or layer.directions == 1 else states[direction]


cdef np.ndarray columns(Layer layer, np.ndarray rows, int direction):
    """The rows of an output from one direction's first column on."""
    return rows if rows is None or layer.directions == 1 else rows[..., direction * layer.P:]


cdef int fill_sizes(Launch* L, Layer layer, int direction) except -1:
    cdef list w = layer.weights[direction]
    cdef np.ndarray ih = w[0], hh = w[1], hr = w[4]
    cdef int64_t item = np.PyArray_ITEMSIZE(hh)
    L.call.size[INPUTS] = layer.inputs
    L.call.size[I_ROW], L.call.size[I_COLUMN] = np.PyArray_STRIDE(ih, 0) // item, np.PyArray_STRIDE(ih, 1) // item
    L.call.size[KIND], L.call.size[STEPS], L.call.size[BATCH] = layer.kind, layer.T, layer.B
    L.call.size[HIDDEN], L.call.size[OUT_WIDTH], L.call.size[REVERSE] = layer.H, layer.P, direction
    L.call.size[H_STRIDE] = layer.directions * layer.P
    L.call.size[W_ROW], L.call.size[W_COLUMN] = np.PyArray_STRIDE(hh, 0) // item, np.PyArray_STRIDE(hh, 1) // item
    if hr is not None:
        L.call.size[P_ROW], L.call.size[P_COLUMN] = np.PyArray_STRIDE(hr, 0) // item, np.PyArray_STRIDE(hr, 1) // item
    return 0


cdef int forward_direction(Layer layer, int d, np.ndarray h_last, np.ndarray c_last, bint record) except -1:
    cdef Launch L
    cdef list w = layer.weights[d]
    cdef int typenum = np.PyArray_TYPE(layer.x)
    cdef int64_t width = GATES[layer.kind] * layer.H, item = np.PyArray_ITEMSIZE(layer.x)
    cdef np.ndarray gates = None, states = None, unprojected = None
    if record and layer.kind >= LSTM:
        gates, states = empty_2d(layer.rows, width, typenum), empty_2d(layer.rows, layer.H, typenum)
    if w[4] is not None:
        unprojected = empty_2d(layer.rows, layer.H, typenum)
    begin(&L, RECURRENT, fn_dtype_of(layer.x))
    fill_sizes(&L, layer, d)
    L.call.flops = 2.0 * layer.rows * (layer.inputs + layer.P) * width + 40.0 * layer.rows * layer.H
    L.call.bytes = <double>item * (layer.rows * (layer.inputs + (2 * layer.H + width if record else layer.P))
                                   + (layer.inputs + layer.P) * width)
    put(&L, 0, layer.x)
    put(&L, 1, w[0])
    put(&L, 2, w[1])
    put(&L, 3, w[2])
    put(&L, 4, w[3])
    put(&L, 5, part(layer, layer.h0, d))
    put(&L, 6, part(layer, layer.c0, d))
    put(&L, 7, w[4])
    put(&L, 8, layer.sizes)
    put(&L, 9, gates)
    put(&L, 10, columns(layer, layer.out, d))
    put(&L, 11, states)
    put(&L, 12, part(layer, h_last, d))
    put(&L, 13, part(layer, c_last, d))
    put(&L, 14, unprojected)
    launch(&L)
    if record:
        layer.gates.append(gates)
        layer.states.append(states)
        layer.unprojected.append(unprojected)
    return 0


cdef int backward_direction(Layer layer, int d, np.ndarray dout, np.ndarray dh_last, np.ndarray dc_last, np.ndarray dh0,
                            np.ndarray dc0, np.ndarray dx, list weight_grads) except -1:
    cdef Launch L
    cdef list w = layer.weights[d]
    cdef int typenum = np.PyArray_TYPE(layer.x)
    cdef int64_t width = GATES[layer.kind] * layer.H
    cdef np.ndarray dgates = empty_2d(layer.rows, width, typenum), dhidden = None, dh_total = None
    if layer.kind == GRU:
        dhidden = empty_2d(layer.rows, layer.H, typenum)
    if w[4] is not None:
        dh_total = empty_2d(layer.rows, layer.P, typenum)
    begin(&L, RECURRENT_GRADIENT, fn_dtype_of(dgates))
    fill_sizes(&L, layer, d)
    L.call.size[DH_STRIDE] = layer.directions * layer.P
    L.call.flops = 2.0 * layer.rows * layer.P * width + 40.0 * layer.rows * layer.H
    L.call.bytes = <double>np.PyArray_ITEMSIZE(dgates) * layer.rows * (2 * width + 2 * layer.H)
    put(&L, 0, layer.gates[d])
    put(&L, 1, w[1])
    put(&L, 2, part(layer, layer.h0, d))
    put(&L, 3, part(layer, layer.c0, d))
    put(&L, 4, w[4])
    put(&L, 5, layer.sizes)
    put(&L, 6, columns(layer, layer.out, d))
    put(&L, 7, layer.states[d])
    put(&L, 8, columns(layer, dout, d))
    put(&L, 9, part(layer, dh_last, d))
    put(&L, 10, part(layer, dc_last, d))
    put(&L, 11, part(layer, dh0, d))
    put(&L, 12, part(layer, dc0, d))
    put(&L, 13, dgates)
    put(&L, 14, dhidden)
    put(&L, 15, dh_total)
    launch(&L)
    if dx is not None:
        product_into(dgates, w[0], None, dx, d > 0)
    weight_gradients(layer, d, dgates, dhidden, weight_grads)
    if w[4] is not None:
        weight_grads.append(weight_gradient(layer.unprojected[d], dh_total))
    return 0


cdef np.ndarray weight_gradient(np.ndarray x, np.ndarray g):
    """g' x as the transpose of x' g: in the memory order that the layers keep their weights in."""
    cdef np.ndarray c = empty_2d(np.PyArray_DIM(x, 1), np.PyArray_DIM(g, 1), np.PyArray_TYPE(g))
    product_into(x.T, g, None, c, False)
    return c.T


cdef int weight_gradients(Layer layer, int d, np.ndarray dgates, np.ndarray dhidden, list weight_grads) except -1:
    """Append the gradients of one direction's w_ih, w_hh and, with a bias, b_ih and b_hh."""
    cdef Launch L
    cdef int typenum = np.PyArray_TYPE(dgates)
    cdef int64_t columns_of = np.PyArray_DIM(dgates, 1)
    cdef np.ndarray before = columns(layer, layer.out, d), ih = empty_2d(layer.inputs, columns_of, typenum)
    cdef np.ndarray hh = empty_2d(layer.P, columns_of, typenum), b_ih = None, b_hh = None
    if layer.weights[d][2] is not None:
        b_ih, b_hh = empty_1d(columns_of, typenum), empty_1d(columns_of, typenum)
    if layer.sizes is not None:
        before = host_call("states before", states_before, (before[:, :layer.P], layer.h0[d], layer.sizes, d))
    begin(&L, RECURRENT_WEIGHTS, fn_dtype_of(dgates))
    L.call.size[0], L.call.size[1], L.call.size[2], L.call.size[3] = layer.rows, layer.B, layer.inputs, layer.P
    L.call.size[4], L.call.size[5], L.call.size[6] = columns_of, d, layer.directions * layer.P
    L.call.size[7] = layer.sizes is not None
    L.call.size[8] = layer.H
    L.call.flops = 2.0 * layer.rows * (layer.inputs + layer.P) * columns_of
    L.call.bytes = <double>np.PyArray_ITEMSIZE(dgates) * (layer.rows * (layer.inputs + layer.P + columns_of)
                                                          + (layer.inputs + layer.P) * columns_of)
    put(&L, 0, layer.x)
    put(&L, 1, before)
    put(&L, 2, part(layer, layer.h0, d))
    put(&L, 3, dgates)
    put(&L, 4, dhidden)
    put(&L, 5, ih)
    put(&L, 6, hh)
    put(&L, 7, b_ih)
    put(&L, 8, b_hh)
    launch(&L)
    weight_grads.append(ih.T)
    weight_grads.append(hh.T)
    if b_ih is not None:
        weight_grads.append(b_ih)
        weight_grads.append(b_hh)
    return 0


def states_before(out, h0, sizes, reverse):
    """Row by row of packed sequences, the state that the step started from."""
    before = np.empty((len(out), h0.shape[1]), out.dtype)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    for t, rows in enumerate(sizes):
        here = before[starts[t]:starts[t + 1]]
        s = t + 1 if reverse else t - 1
        carried = min(rows, sizes[s]) if 0 <= s < len(sizes) else 0
        if carried:
            here[:carried] = out[starts[s]:starts[s] + carried]
        here[carried:] = h0[carried:rows]
    return before


@cython.final
cdef class RecurrentBackward(Node):
    """extra: the Layer.  Inputs: x, h0, c0, then per direction w_ih, w_hh, b_ih, b_hh, w_hr as present."""

    cdef object backward_many(self, list grads):
        cdef Layer layer = self.extra
        cdef int typenum = np.PyArray_TYPE(layer.x), d
        cdef np.npy_intp[3] shape
        cdef np.ndarray dout, dhn, dcn, dh0 = None, dc0 = None, dx = None
        cdef list weight_grads = []
        for d in range(len(layer.watched)):
            if (<Storage>layer.watched[d]).version != <long>layer.seen[d]:
                raise changed(self)
        dout = None if grads[0] is None else contiguous(grads[0])
        if dout is not None:
            dout = as_rows(dout, layer.rows, layer.directions * layer.P)
        dhn = None if grads[1] is None else contiguous(grads[1])
        dcn = None if layer.kind != LSTM or grads[2] is None else contiguous(grads[2])
        shape[0], shape[1], shape[2] = layer.directions, layer.B, layer.P
        if self.nodes[1] is not None:
            dh0 = empty(3, shape, typenum)
        if self.nodes[2] is not None:
            shape[2] = layer.H
            dc0 = empty(3, shape, typenum)
        if self.nodes[0] is not None:
            dx = empty_2d(layer.rows, layer.inputs, typenum)
        for d in range(layer.directions):
            backward_direction(layer, d, dout, dhn, dcn, dh0, dc0, dx, weight_grads)
        if dx is not None:
            dx = (<object>dx).reshape(self.a)
        return tuple([dx, dh0, dc0] + weight_grads)


cdef np.ndarray fitting(str op, str what, Tensor t, np.ndarray x, int64_t n, int64_t m=-1, int64_t k=-1):
    """t's array, of the size (n), (n, m) or (n, m, k) and in x's dtype; what has one axis in C order, as kernels read it."""
    cdef int ndim = 1 + (m >= 0) + (k >= 0)
    cdef np.ndarray a
    if t is None:
        return None
    a = t.array
    if (np.PyArray_NDIM(a) != ndim or np.PyArray_DIM(a, 0) != n or (ndim > 1 and np.PyArray_DIM(a, 1) != m)
            or (ndim > 2 and np.PyArray_DIM(a, 2) != k)):
        raise misfit(op, what, (n, m, k)[:ndim], (<object>a).shape)
    if np.PyArray_TYPE(a) != np.PyArray_TYPE(x):
        check_same_dtype(op, x, a, what)
    return contiguous(a) if ndim == 1 else a


cdef list fitting_weights(str op, list weights, np.ndarray x, int64_t rows, Layer layer):
    """Arrays of one direction's weights."""
    if rows != layer.H * GATES[layer.kind] or (weights[4] is None and layer.P != layer.H):
        raise misfit(op, "weight_hh", (layer.H * GATES[layer.kind], layer.H), (rows, layer.P))
    return [fitting(op, "weight_ih", weights[0], x, rows, layer.inputs), fitting(op, "weight_hh", weights[1], x, rows, layer.P),
            fitting(op, "bias_ih", weights[2], x, rows), fitting(op, "bias_hh", weights[3], x, rows),
            fitting(op, "weight_hr", weights[4], x, layer.P, layer.H)]


def recurrent_layer(str kind, Tensor x, Tensor h0, Tensor c0, list weights, sizes=None):
    """Run one layer of RNN_TANH, RNN_RELU, LSTM or GRU over a sequence.

    Parameters
    ----------
    x : Tensor, shape (T, B, I), or (rows, I) with `sizes`
    h0, c0 : Tensor, shape (directions, B, P) and (directions, B, H), or None for zeros
    weights : list, per direction, of [w_ih, w_hh, b_ih, b_hh, w_hr] with None where absent
    sizes : ndarray of int64, optional
        Rows per time step of packed sequences.

    Returns
    -------
    tuple of Tensor
        Output (T, B, directions P) or (rows, directions P), last h (directions, B, P), and for an LSTM last c.

    Raises
    ------
    RuntimeError
        For weights and states of another size than the layer's or another dtype than the input's.
    """
    cdef Layer layer = Layer()
    cdef np.ndarray w_hh = (<Tensor>weights[0][1]).array
    cdef int typenum = np.PyArray_TYPE(x.array), d
    cdef np.npy_intp[3] shape
    cdef np.ndarray h_last, c_last = None
    cdef np.ndarray a = contiguous(x.array)
    cdef RecurrentBackward node
    check_real(kind, a)
    if np.PyArray_NDIM(w_hh) != 2:
        raise misfit(kind, "weight_hh", ("gates", "states"), (<object>w_hh).shape)
    layer.kind = KINDS[kind]
    layer.directions = len(weights)
    layer.sizes = sizes
    if sizes is None:
        layer.T, layer.B = np.PyArray_DIM(a, 0), np.PyArray_DIM(a, 1)
        layer.rows = layer.T * layer.B
    else:
        layer.T, layer.B, layer.rows = len(sizes), sizes[0], np.PyArray_DIM(a, 0)
    layer.inputs = np.PyArray_DIM(a, np.PyArray_NDIM(a) - 1)
    layer.H = np.PyArray_DIM(w_hh, 0) // GATES[layer.kind]
    layer.P = np.PyArray_DIM(w_hh, 1)
    layer.x = as_rows(a, layer.rows, layer.inputs)
    layer.weights = [fitting_weights(kind, direction, a, np.PyArray_DIM(w_hh, 0), layer) for direction in weights]
    shape[0], shape[1], shape[2] = layer.T, layer.B, layer.directions * layer.P
    layer.out = empty_2d(layer.rows, shape[2], typenum) if sizes is not None else empty(3, shape, typenum)
    layer.h0 = initial(kind, "h_0", h0, a, layer.directions, layer.B, layer.P)
    if layer.kind == LSTM:
        layer.c0 = initial(kind, "c_0", c0, a, layer.directions, layer.B, layer.H)
    layer.gates, layer.states, layer.unprojected = [], [], []
    shape[0], shape[1], shape[2] = layer.directions, layer.B, layer.P
    h_last = empty(3, shape, typenum)
    if layer.kind == LSTM:
        shape[2] = layer.H
        c_last = empty(3, shape, typenum)
    cdef list inputs
    cdef bint record = False
    if grad_enabled():
        inputs = [x, h0, c0] + [w for direction in weights for w in direction if w is not None]
        for t in inputs:
            record = record or wants(<Tensor>t)
    for d in range(layer.directions):
        forward_direction(layer, d, h_last, c_last, record)
    cdef list outputs = [layer.out, h_last] if c_last is None else [layer.out, h_last, c_last]
    if not record:
        return tuple([wrap(o) for o in outputs])
    node = RecurrentBackward.__new__(RecurrentBackward)
    node.extra = layer
    node.a = (<object>x.array).shape
    cdef tuple attached = attach_outputs(outputs, node, inputs)
    layer.watched, layer.seen = [], []
    layer.watch(x)
    layer.watch(h0)
    layer.watch(c0)
    layer.watch(attached[0])
    for d in range(layer.directions):       # no gradient needs a bias
        layer.watch((<list>weights[d])[0])
        layer.watch((<list>weights[d])[1])
        layer.watch((<list>weights[d])[4])
    return attached


def weights_of(parameters, list names):
    """[w_ih, w_hh, b_ih, b_hh, w_hr] per direction, None where absent."""
    get = parameters.get
    return [[get(name) for name in of_direction] for of_direction in names]


cdef bint fits(object state, Tensor like, int64_t rows, int64_t batch, int64_t width):
    """Is it a tensor (rows, batch, width) of the same dtype?"""
    if not isinstance(state, Tensor):
        return False
    cdef np.ndarray a = (<Tensor>state).array
    return (np.PyArray_NDIM(a) == 3 and np.PyArray_TYPE(a) == np.PyArray_TYPE(like.array) and np.PyArray_DIM(a, 0) == rows
            and np.PyArray_DIM(a, 1) == batch and np.PyArray_DIM(a, 2) == width)


def is_regular(input, hx, Tensor weight, bint lstm, int64_t states, int64_t width, int64_t hidden):
    """Would every check of a layer's input (T, N, I) and of its states in torch's form pass?  In one call, for short sequences."""
    if not isinstance(input, Tensor):
        return False
    cdef np.ndarray a = (<Tensor>input).array
    if np.PyArray_NDIM(a) != 3 or np.PyArray_DIM(a, 0) == 0:
        return False
    cdef int64_t N = np.PyArray_DIM(a, 1)
    if not fits(input, weight, np.PyArray_DIM(a, 0), N, np.PyArray_DIM(weight.array, 1)):
        return False
    if hx is None:
        return True
    if not lstm:
        return fits(hx, weight, states, N, width)
    return (isinstance(hx, tuple) and len(<tuple>hx) == 2 and fits((<tuple>hx)[0], weight, states, N, width)
            and fits((<tuple>hx)[1], weight, states, N, hidden))


cdef np.ndarray initial(str op, str what, Tensor given, np.ndarray x, int64_t directions, int64_t B, int64_t width):
    if given is not None:
        return contiguous(fitting(op, what, given, x, directions, B, width))
    return (<object>zeros(directions * B, width, np.PyArray_TYPE(x))).reshape(directions, B, width)
