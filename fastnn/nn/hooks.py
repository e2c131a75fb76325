"""Functions called around a module's forward and backward."""
from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from fastnn.autograd import Function

if TYPE_CHECKING:
    from typing import Any, Self

_ids = count()


class RemovableHandle:
    """What registering a hook returns: `remove()`, or leaving a `with` block, takes the hook away."""

    def __init__(self, hooks: Any) -> None:
        self.hooks = hooks
        self.id = next(_ids)

    def remove(self) -> None:
        self.hooks.pop(self.id, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, value: object, traceback: object) -> None:
        self.remove()


def add_hook(hooks, hook, prepend=False):
    """Put a hook into an id -> hook dict and return its handle."""
    handle = RemovableHandle(hooks)
    if prepend:
        rest = list(hooks.items())
        hooks.clear()
        hooks[handle.id] = hook
        hooks.update(rest)
    else:
        hooks[handle.id] = hook
    return handle


def hooks_of(hooks, kind, **attributes):
    """Keys of the hooks in an id -> hook dict that are of a class and have such attributes."""
    return [key for key, hook in hooks.items()
            if isinstance(hook, kind) and all(getattr(hook, name) == value for name, value in attributes.items())]


def take_off(module, kind, title, name):
    """Remove the hook of a class that computes the parameter `name` before each call; what it computed it makes a parameter again."""
    found = hooks_of(module._forward_pre_hooks, kind, name=name)
    if not found:
        raise ValueError(f"{title} of '{name}' not found in {module}")
    module._forward_pre_hooks.pop(found[0]).remove(module)
    return module


class _Watch(Function):
    """The identity; shows the gradients that pass through it and lets them be replaced."""

    @staticmethod
    def forward(ctx, seen, *tensors):
        ctx.seen = seen
        return tuple(t.detach() for t in tensors)

    @staticmethod
    def backward(ctx, *grads):
        return (None, *ctx.seen(grads))


def _watch(seen, values):
    """Pass the tensors among values (a tuple) that can carry a gradient through a _Watch."""
    places = [i for i, v in enumerate(values) if getattr(v, "requires_grad", False)]
    if not places:
        return values
    watched = list(values)
    for i, t in zip(places, _Watch.apply(seen, *(values[i] for i in places))):
        watched[i] = t
    return tuple(watched)


class BackwardHooks:
    """The backward hooks of one call of a module: they see the gradients of its outputs and of its inputs."""

    def __init__(self, module):
        self.module = module
        self.pre_hooks = list(module._backward_pre_hooks.values())
        self.hooks = list(module._backward_hooks.values())
        self.grad_output = None
        self.input_places, self.input_count, self.output_count = None, 0, 0
        self.output_places = ()

    def enter(self, args):
        self.input_count = len(args)
        self.input_places = [i for i, v in enumerate(args) if getattr(v, "requires_grad", False)]
        return _watch(self.see_input, args)

    def leave(self, result):
        values = result if isinstance(result, tuple) else (result,)
        self.output_count = len(values)
        self.output_places = [i for i, v in enumerate(values) if getattr(v, "requires_grad", False)]
        values = _watch(self.see_output, values)
        return values if isinstance(result, tuple) else values[0]

    def see_output(self, grads):
        full = self.spread(grads, self.output_places, self.output_count)
        for hook in self.pre_hooks:
            answer = hook(self.module, full)
            if answer is not None:
                full = answer if isinstance(answer, tuple) else (answer,)
        self.grad_output = full
        if not self.input_places:       # no input wants a gradient: the hooks still run
            self.run_hooks((None,) * self.input_count)
        return tuple(full[i] for i in self.output_places)

    def see_input(self, grads):
        full = self.run_hooks(self.spread(grads, self.input_places, self.input_count))
        return tuple(full[i] for i in self.input_places)

    def run_hooks(self, grad_input):
        for hook in self.hooks:
            answer = hook(self.module, grad_input, self.grad_output)
            if answer is not None:
                grad_input = answer if isinstance(answer, tuple) else (answer,)
        return grad_input

    @staticmethod
    def spread(grads, places, length):
        full = [None] * length
        for i, g in zip(places, grads):
            full[i] = g
        return tuple(full)


class ForwardHook:
    """A forward hook with options: it also takes keyword arguments, or is called even when forward raises."""

    def __init__(self, hook, with_kwargs, always_call=False):
        self.hook, self.with_kwargs, self.always_call = hook, with_kwargs, always_call

    def __call__(self, module, args, kwargs, *result):
        return self.hook(module, args, kwargs, *result) if self.with_kwargs else self.hook(module, args, *result)


def call_with_hooks(module, args, kwargs):
    """The call of a module that has hooks, in torch's order."""
    called = set()
    try:
        return _call(module, args, kwargs, called)
    except Exception:
        for number, hook in list(module._forward_hooks.items()):
            if isinstance(hook, ForwardHook) and hook.always_call and number not in called:
                hook(module, args, kwargs, None)
        raise


def _call(module, args, kwargs, called):
    for hook in list(module._forward_pre_hooks.values()):
        if isinstance(hook, ForwardHook):
            answer = hook(module, args, kwargs)
            if answer is not None:
                if not (isinstance(answer, tuple) and len(answer) == 2):
                    raise RuntimeError("forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got "
                                       f"{answer}.")
                args, kwargs = answer
        else:
            answer = hook(module, args)
            if answer is not None:
                args = answer if isinstance(answer, tuple) else (answer,)
    watched = None
    if module._backward_hooks or module._backward_pre_hooks:
        watched = BackwardHooks(module)
        args = watched.enter(args)
    result = module.forward(*args, **kwargs)
    for number, hook in list(module._forward_hooks.items()):
        called.add(number)
        answer = hook(module, args, kwargs, result) if isinstance(hook, ForwardHook) else hook(module, args, result)
        if answer is not None:
            result = answer
    return result if watched is None else watched.leave(result)
