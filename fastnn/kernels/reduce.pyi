REDUCTIONS: dict[str, int]
