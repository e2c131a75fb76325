"""Limited-memory BFGS."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.grad_mode import enable_grad
from fastnn.core.tensor import from_array
from fastnn.optim.optimizer import Optimizer, check_lr

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from fastnn.core.tensor import Tensor
    from fastnn.core.types import Params

__all__ = ["LBFGS"]

VECTORS = ("d", "prev_flat_grad")
HISTORIES = ("old_dirs", "old_stps")
NUMBERS = ("t", "H_diag", "prev_loss")


class LBFGS(Optimizer):
    r"""Quasi-Newton steps from the last gradients' differences; for small problems and full batches.

    One ``step`` makes up to ``max_iter`` iterations.  All parameters form one vector.

    Parameters
    ----------
    params : iterable of Tensor
        One group only.
    lr : float, default 1
        Length of a step along the direction, or the first length that the line search tries.
    max_iter : int, default 20
        Iterations per step.
    max_eval : int, optional
        Evaluations of the closure per step; 1.25 * max_iter when None.
    tolerance_grad : float, default 1e-7
        Stop when no gradient element is larger.
    tolerance_change : float, default 1e-9
        Stop when neither loss nor parameters change more.
    history_size : int, default 100
    line_search_fn : {None, 'strong_wolfe'}, default None

    Raises
    ------
    ValueError
        For a negative rate or more than one group.
    RuntimeError
        For another line search.

    References
    ----------
    Liu and Nocedal, On the limited memory BFGS method for large scale optimization, Math. Programming 45, 1989.
    Nocedal and Wright, Numerical optimization, 2nd ed., algorithms 3.5, 3.6 (line search), 7.4 (two loops).
    """

    def __init__(self, params: Params, lr: float | Tensor = 1, max_iter: int = 20, max_eval: int | None = None,
                 tolerance_grad: float = 1e-7, tolerance_change: float = 1e-9, history_size: int = 100,
                 line_search_fn: str | None = None) -> None:
        check_lr(lr)
        if max_eval is None:
            max_eval = max_iter * 5 // 4
        super().__init__(params, dict(lr=lr, max_iter=max_iter, max_eval=max_eval, tolerance_grad=tolerance_grad,
                                      tolerance_change=tolerance_change, history_size=history_size,
                                      line_search_fn=line_search_fn))
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")

    @property
    def _params(self):
        return self.param_groups[0]["params"]

    def _gradient(self):
        """All gradients as one vector, zeros where there is none."""
        return np.concatenate([np.zeros(p.numel(), p.dtype) if p.grad is None else p.grad.array.ravel()
                               for p in self._params])

    def _move(self, length, direction):
        """Parameters += length * direction."""
        start = 0
        for p in self._params:
            n = p.numel()
            p.array[...] += (length * direction[start:start + n]).reshape(p.shape)
            p.detach()._touch()
            start += n

    def _evaluate(self, closure):
        with enable_grad():
            loss = float(closure())
        return loss, self._gradient()

    def _try(self, closure, origin, length, direction):
        """Loss and gradient at origin + length * direction; comes back to the origin."""
        self._move(length, direction)
        loss, gradient = self._evaluate(closure)
        for p, values in zip(self._params, origin):
            p.array[...] = values
            p.detach()._touch()
        return loss, gradient

    def step(self, closure: Callable[[], Any]) -> Any:    # type: ignore[override]
        """Make up to ``max_iter`` iterations.

        Parameters
        ----------
        closure : callable
            Clears the gradients, computes the loss and its gradients anew, and returns it.

        Returns
        -------
        The first loss, as the closure returned it.
        """
        group = self.param_groups[0]
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise RuntimeError("only 'strong_wolfe' is supported")
        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        with enable_grad():
            first_loss = closure()
        state["func_evals"] += 1
        gradient = self._gradient()
        if largest(gradient) <= group["tolerance_grad"]:
            return first_loss
        memory = unpack(state)
        self._iterate(closure, group, state, memory, float(first_loss), gradient)
        pack(memory, state)
        return first_loss

    def _iterate(self, closure, group, state, memory, loss, gradient):
        lr, tolerance_change = float(group["lr"]), group["tolerance_change"]
        evaluations, most = 1, group["max_eval"]
        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            first = state["n_iter"] == 1
            if first:
                memory.update(d=-gradient, old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
            else:
                remember(memory, gradient, group["history_size"])
                memory["d"] = two_loops(memory, gradient, group["history_size"])
            d = memory["d"]
            memory["prev_flat_grad"], previous = gradient.copy(), loss
            memory["prev_loss"] = loss
            memory["t"] = t = min(1.0, 1.0 / float(np.abs(gradient).sum())) * lr if first else lr
            slope = dot(gradient, d)
            if slope > -tolerance_change:
                return
            calls = 0
            if group["line_search_fn"] is not None:
                origin = [p.array.copy() for p in self._params]
                loss, gradient, t, calls = strong_wolfe(
                    lambda length: self._try(closure, origin, length, d), t, d, loss, gradient, slope,  # noqa: B023
                    tolerance_change=tolerance_change, most=most - evaluations)
                memory["t"] = t
                self._move(t, d)
            else:
                self._move(t, d)
                if iteration != group["max_iter"]:
                    loss, gradient = self._evaluate(closure)
                    calls = 1
            evaluations += calls
            state["func_evals"] += calls
            if (evaluations >= most or largest(gradient) <= group["tolerance_grad"]
                    or largest(d * t) <= tolerance_change or abs(loss - previous) < tolerance_change):
                return


def unpack(state):
    """The saved state as arrays and floats."""
    memory = {k: state[k].array for k in VECTORS if k in state}
    memory |= {k: [x.array for x in state[k]] for k in HISTORIES if k in state}
    memory |= {k: float(state[k]) for k in NUMBERS if k in state}
    memory["ro"] = [float(x) for x in state.get("ro", [])]
    if "al" in state:
        memory["al"] = state["al"]
    return memory


def pack(memory, state):
    for k, v in memory.items():
        state[k] = from_array(v) if k in VECTORS else [from_array(x) for x in v] if k in HISTORIES else v


def dot(a, b):
    """Inner product in one fixed order (a BLAS would choose by its threads)."""
    return float(np.einsum("i,i->", a, b))


def largest(x):
    return float(np.abs(x).max(initial=0))


def remember(memory, gradient, size):
    """Add the last step and the change of gradient along it, if the curvature is positive."""
    change, taken = gradient - memory["prev_flat_grad"], memory["d"] * gradient.dtype.type(memory["t"])
    curvature = dot(change, taken)
    if curvature <= 1e-10:
        return
    if len(memory["old_dirs"]) == size:
        for key in ("old_dirs", "old_stps", "ro"):
            del memory[key][0]
    memory["old_dirs"].append(change)
    memory["old_stps"].append(taken)
    memory["ro"].append(1.0 / curvature)
    memory["H_diag"] = curvature / dot(change, change)


def two_loops(memory, gradient, size):
    """The inverse Hessian's estimate times -gradient."""
    changes, steps, ro = memory["old_dirs"], memory["old_stps"], memory["ro"]
    al = memory.setdefault("al", [None] * size)
    real = gradient.dtype.type
    q = -gradient
    for i in reversed(range(len(changes))):
        al[i] = dot(steps[i], q) * ro[i]
        q -= real(al[i]) * changes[i]
    q *= real(memory["H_diag"])
    for i in range(len(changes)):
        q += real(al[i] - dot(changes[i], q) * ro[i]) * steps[i]
    return q


def cubic_minimum(x1, f1, g1, x2, f2, g2, bounds=None):
    """Where the cubic through two points with slopes is least, within bounds; their middle where it has no minimum."""
    low, high = bounds if bounds is not None else (min(x1, x2), max(x1, x2))
    d1 = g1 + g2 - 3 * (f1 - f2) / (x1 - x2)
    square = d1 * d1 - g1 * g2
    if not square >= 0:
        return (low + high) / 2.0
    root = square ** 0.5
    if x1 <= x2:
        best = x2 - (x2 - x1) * ((g2 + root - d1) / (g2 - g1 + 2 * root))
    else:
        best = x1 - (x1 - x2) * ((g1 + root - d1) / (g1 - g2 + 2 * root))
    return min(max(best, low), high)


def strong_wolfe(evaluate, t, d, f, g, slope, c1=1e-4, c2=0.9, tolerance_change=1e-9, most=25):
    """Find a length that satisfies the strong Wolfe conditions: widen until it is bracketed, then narrow the bracket.

    Points are (length, loss, gradient, slope).  Returns loss, gradient, length and the number of evaluations.
    """
    def point(length):
        loss, gradient = evaluate(length)
        return length, loss, gradient, dot(gradient, d)

    start, last, new = (0, f, g, slope), (0, f, g, slope), point(t)
    evaluations, tries, done, bracket = 1, 0, False, None
    while tries < most:
        length, loss, _, new_slope = new
        if loss > f + c1 * length * slope or (tries > 1 and loss >= last[1]):
            bracket = [last, new]
        elif abs(new_slope) <= -c2 * slope:
            bracket, done = [new], True
        elif new_slope >= 0:
            bracket = [last, new]
        if bracket:
            break
        least = length + 0.01 * (length - last[0])
        length = cubic_minimum(last[0], last[1], last[3], length, loss, new_slope, bounds=(least, length * 10))
        last, new = new, point(length)
        evaluations += 1
        tries += 1
    if bracket is None:
        bracket = [start, new]
    stalled = False
    low, high = (0, 1) if bracket[0][1] <= bracket[-1][1] else (1, 0)
    while not done and tries < most:
        lengths = bracket[0][0], bracket[1][0]
        left, right = min(lengths), max(lengths)
        if (right - left) * largest(d) < tolerance_change:
            break
        (x1, f1, _, g1), (x2, f2, _, g2) = bracket
        length = cubic_minimum(x1, f1, g1, x2, f2, g2)
        margin = 0.1 * (right - left)
        near = min(right - length, length - left) < margin
        if near and (stalled or length >= right or length <= left):     # keep clear of the ends
            length = right - margin if abs(length - right) < abs(length - left) else left + margin
            near = False
        stalled = near
        new = point(length)
        evaluations += 1
        tries += 1
        if new[1] > f + c1 * length * slope or new[1] >= bracket[low][1]:
            bracket[high] = new
            low, high = (0, 1) if bracket[0][1] <= bracket[1][1] else (1, 0)
        else:
            if abs(new[3]) <= -c2 * slope:
                done = True
            elif new[3] * (bracket[high][0] - bracket[low][0]) >= 0:
                bracket[high] = bracket[low]
            bracket[low] = new
    length, loss, gradient, _ = bracket[low]
    return loss, gradient, length, evaluations
