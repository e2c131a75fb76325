"""Handles of hooks on tensors."""


class RemovableHook:
    """What register_hook returns: `remove()` takes the hook away."""

    def __init__(self, hooks, hook):
        self.hooks, self.hook = hooks, hook

    def remove(self):
        if self.hook in self.hooks:
            self.hooks.remove(self.hook)
