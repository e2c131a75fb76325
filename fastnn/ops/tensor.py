"""The operations on tensors under torch's names: what the package itself re-exports."""
from fastnn.ops import (
    arithmetic,
    copy,
    creation,
    distance,
    elementwise,
    factorization,
    filling,
    gather,
    indexing,
    inplace,
    joining,
    linalg,
    linear,
    logic,
    matrix_functions,
    placement,
    power,
    reduction,
    shape,
    sorting,
    special,
    statistics,
    typed,
)
from fastnn.ops.joining import broadcast_shapes
from fastnn.ops.promotion import can_cast, promote_types, result_type

_FAMILIES = (copy, creation, elementwise, factorization, filling, gather, indexing, inplace, joining, linalg, logic, matrix_functions,
             power, placement, reduction, shape, sorting, special, statistics, typed)
NAMES = {name: getattr(family, name) for family in _FAMILIES for name in family.__all__}
NAMES.update(cdist=distance.cdist, broadcast_shapes=broadcast_shapes, can_cast=can_cast, promote_types=promote_types,
             result_type=result_type, matmul=linear.matmul, add=arithmetic.add, sub=arithmetic.sub, subtract=arithmetic.sub,
             mul=arithmetic.mul, multiply=arithmetic.mul, div=arithmetic.div, divide=arithmetic.div,
             true_divide=arithmetic.div, svd=factorization.old_svd)
globals().update(NAMES)

__all__ = [*NAMES]
