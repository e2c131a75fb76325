"""The shape of a tensor."""


class Size(tuple):
    """The shape of a tensor: a tuple that prints and counts as torch's."""

    def numel(self):
        n = 1
        for d in self:
            n *= d
        return n

    def __repr__(self):
        return f"torch.Size({list(self)})"
