"""A compiled training step, and whole epochs of it."""
from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np

from fastnn import backends
from fastnn.compiling.plans import Compiled, state_of
from fastnn.core.guard import Guard
from fastnn.core.plan import Plan
from fastnn.core.random import randperm_array
from fastnn.core.tensor import Tensor, from_array
from fastnn.nn.utils import clip_grad_norm_, clip_grad_value_
from fastnn.ops.update import prepare

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from fastnn.core.types import Array, Generator
    from fastnn.optim import Optimizer


class CompiledStep(Compiled):
    """A training step: ``loss = step(*inputs, target)`` runs forward, loss, backward, clipping and update.

    Gradients of the step are visible in each parameter's ``.grad`` afterwards, as after an eager step.
    """

    def __init__(self, model: Callable[..., Any], loss_fn: Callable[..., Any], optimizer: Optimizer,
                 max_norm: float | None = None, clip_value: float | None = None, fullgraph: bool = False) -> None:
        super().__init__(model, fullgraph)
        self.loss_fn, self.optimizer = loss_fn, optimizer
        self.max_norm, self.clip_value = max_norm, clip_value
        self._running = None

    def __call__(self, *batch: Tensor) -> Tensor:
        latest = self._latest
        if latest is not None:
            self.optimizer._refresh()
            outputs = latest.attempt(batch)
            if outputs is not None:
                return from_array(outputs[0])
        return self._slow([x if isinstance(x, Tensor) else from_array(x) for x in batch])

    def _slow(self, tensors):
        signature, plan = self._find(tensors)
        if isinstance(plan, Plan):
            self._latest = plan
            self.optimizer._refresh()
            return from_array(plan.run(*[t.array for t in tensors])[0])
        return self._make_plan(signature, tensors, lambda: self._run(tensors))

    def _run(self, tensors):
        self.optimizer.zero_grad()
        output = self.model(*tensors[:-1])
        loss = self.loss_fn(output, tensors[-1])
        loss.backward()
        if self.max_norm is not None:
            clip_grad_norm_(self._parameters(), self.max_norm)
        if self.clip_value is not None:
            clip_grad_value_(self._parameters(), self.clip_value)
        self.optimizer.step()
        loss = loss.detach()
        return loss, [loss]

    @contextlib.contextmanager
    def _state(self):
        made = prepare(self.optimizer) if self.optimizer._family else ()
        try:
            yield
        finally:
            for p in made:
                if p.grad is None:      # no step would have given it state
                    del self.optimizer.state[p]

    def _parameters(self):
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    _gradient_leaves = _parameters

    def _watched(self):
        known = {id(t): t for t in super()._watched()}
        known.update((id(p), p) for p in self._parameters())
        for state in self.optimizer.state.values():
            known.update((id(t), t) for t in state.values() if isinstance(t, Tensor))
        return list(known.values())

    def _modules(self):
        loss = self.loss_fn.modules() if hasattr(self.loss_fn, "modules") else ()
        return [*super()._modules(), *loss]

    def _guard(self):
        optimizer = self.optimizer
        dicts = [d for m in self._modules() for d in state_of(m)]
        dicts += [vars(p) for p in self._parameters()]      # hooks of a parameter
        dicts += [vars(optimizer), *optimizer.state.values()]
        return Guard(dicts, [(group, optimizer._options()) for group in optimizer.param_groups], [vars(backends)])

    @property
    def progress(self) -> int:
        """Batches done of the epoch that runs now; may be read from another thread."""
        return self._running.progress if self._running is not None else self._done

    _done = 0

    def run_epoch(self, *data: Tensor | Array, batch_size: int = 1, shuffle: bool = False,
                  generator: Generator | None = None, drop_last: bool = False) -> Array:
        """Train on every row of the data once, in one call.

        Parameters
        ----------
        *data : arrays or Tensors of equal length
            The model's inputs and, last, the target.  Memory-mapped arrays are read batch by batch.
        batch_size : int, default 1
        shuffle : bool, default False
            Draw a new order of the rows from the generator.
        generator : Generator, optional
        drop_last : bool, default False
            Leave out a last batch with fewer rows.

        Returns
        -------
        ndarray
            The loss of every batch.
        """
        arrays = [x.array if isinstance(x, Tensor) else np.asarray(x) for x in data]
        rows = len(arrays[0])
        if any(len(a) != rows for a in arrays):
            raise ValueError(f"run_epoch: Size mismatch between tensors: {[len(a) for a in arrays]} rows")
        if batch_size < 1:
            raise ValueError(f"run_epoch: batch_size should be a positive integer value, but got batch_size={batch_size}")
        order = randperm_array(rows, generator) if shuffle else None
        full, rest = divmod(rows, batch_size)
        losses = np.empty(full + (rest > 0 and not drop_last), np.float64)
        self._done = self._run_full_batches(arrays, order, batch_size, full, losses)
        if rest and not drop_last:
            losses[full] = self(*_rows(arrays, order, full * batch_size, rows)).item()
            self._done += 1
        return losses

    def _run_full_batches(self, arrays, order, batch_size, full, losses):
        done = 0
        while done < full:
            batch = [from_array(a) for a in _rows(arrays, order, done * batch_size, (done + 1) * batch_size)]
            plan = self._find(batch)[1]
            if not isinstance(plan, Plan) or not all(a[:1].flags.c_contiguous for a in arrays):
                losses[done] = self(*batch).item()
                done += 1
                continue
            self.optimizer._refresh()
            results = np.empty(full, plan.output_dtype)
            self._running = plan
            try:
                reached = plan.run_batches(arrays, order, done, full, batch_size, results)
            finally:
                self._running = None
            losses[done:reached] = results[done:reached]
            done = reached
        return done


def _rows(arrays, order, start, stop):
    if order is None:
        return [a[start:stop] for a in arrays]
    return [np.take(a, order[start:stop], axis=0) for a in arrays]
