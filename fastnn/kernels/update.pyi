HYPER: dict[str, str]
HYPER_LENGTH: int
