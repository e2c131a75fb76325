"""Coefficients of csrc/vmath_pieces.h: a function as 32 polynomials, fitted in 60 digits at Chebyshev points, printed as C.

    python bench/lab/pieces.py          (needs mpmath)

Piece i is centred at i * width.  Of an odd function f(x)/x is fitted, so that small results are right in relative terms.
"""
from mpmath import cos, erf, lu_solve, matrix, mp, mpf, pi, sqrt

mp.dps = 60
PIECES = 32
COLUMNS = 128       # longest line
WIDTH = "0.12890625"
DEGREE = 4


def quotient(x):
    """erf(x) / x"""
    return erf(x) / x if x else 2 / sqrt(pi)


def fit(f, centre, half, degree):
    """Coefficients in x - centre of the polynomial through f at the Chebyshev points of centre +- half."""
    points = [cos((2 * k + 1) * pi / (2 * degree + 2)) for k in range(degree + 1)]
    powers = matrix([[p**k for k in range(degree + 1)] for p in points])
    c = lu_solve(powers, matrix([f(centre + half * p) for p in points]))
    return [b / half**k if abs(b) > mpf("1e-20") else mpf(0) for k, b in enumerate(c)]


def literal(c):
    """C's text of a float."""
    text = f"{float(c):.9g}"
    return text + ("f" if "." in text or "e" in text else ".0f")


def wrapped(start, texts, end):
    """Texts with commas between start and end, in lines of at most COLUMNS."""
    line = start
    for i, text in enumerate(texts):
        text += end if i == len(texts) - 1 else ","
        if len(line) + len(text) > COLUMNS:
            yield line.rstrip()
            line = " " * len(start)
        line += text + " "
    yield line.rstrip()


def main():
    width = mpf(WIDTH)
    pieces = [fit(quotient, i * width, width / 2, DEGREE) for i in range(PIECES)]
    print(f"/* erf(x) / x */\n#define FN_ERF_WIDTH {WIDTH}f\nstatic const float FN_ERF_F[{DEGREE + 1}][{PIECES}] = {{")
    for row in zip(*pieces, strict=True):
        print("\n".join(wrapped("    {", [literal(c) for c in row], "},")))
    print("};")


main()
