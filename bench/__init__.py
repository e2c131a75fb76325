"""Benchmarks of fastnn beside its peers: `python -m bench` measures, `bench/bars.py` says what must be reached."""
