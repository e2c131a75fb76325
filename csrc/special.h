/* special.h: derivatives of log gamma, one number at a time: recurrence up to FAR, then the asymptotic series (Abramowitz and Stegun
 * 6.3.18 and 6.4.12; the first term left out is below 1e-17), reflection for what is negative (6.3.7, 6.4.7). */
#ifndef FN_SPECIAL_H
#define FN_SPECIAL_H
#include <math.h>

#define FAR 12.0
#define PI 3.14159265358979323846

static __attribute__((unused)) double digamma(double x) {
    double low = 0;
    if (x == 0) return copysign(INFINITY, -x);
    if (x < 0) {
        if (x == floor(x)) return NAN;          /* a pole that has no side */
        low = -PI / tan(PI * (x - floor(x)));
        x = 1 - x;
    }
    for (; x < FAR; x++) low -= 1 / x;
    const double y = 1 / (x * x);
    const double series = y * (1.0 / 12 - y * (1.0 / 120 - y * (1.0 / 252 - y * (1.0 / 240 - y * (1.0 / 132 - y * (691.0 / 32760 - y / 12))))));
    return isinf(x) ? x + low : low + log(x) - 0.5 / x - series;
}

static __attribute__((unused)) double trigamma(double x) {
    double low = 0, sign = 1;
    if (x <= 0) {
        const double s = sin(PI * (x - floor(x)));
        low = PI * PI / (s * s);
        x = 1 - x;
        sign = -1;
    }
    double sum = 0;
    for (; x < FAR; x++) sum += 1 / (x * x);
    const double y = 1 / (x * x);
    const double series = y * (1.0 / 6 - y * (1.0 / 30 - y * (1.0 / 42 - y * (1.0 / 30 - y * (5.0 / 66 - y * (691.0 / 2730 - y * (7.0 / 6)))))));
    return low + sign * (sum + 1 / x + 0.5 * y + series / x);
}

static __attribute__((unused)) float digammaf(float x) { return (float)digamma(x); }
static __attribute__((unused)) float trigammaf(float x) { return (float)trigamma(x); }

#undef FAR
#undef PI
#endif
