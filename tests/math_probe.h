/* Compiled once per kernel set inside vae.h (see VAEI_KERNEL_TESTS): its functions of one vector, made functions of
   many. */
#undef MATH_PROBE
#define MATH_PROBE(name, expression) \
    VAEI_TARGET void VAEI_NAME(name)(size_t n, const vae_real *x, vae_real *y) { \
        size_t i; \
        for (i = 0; i < n; i += VAEI_LANES) { const VAEI_V v = VAEI_LOAD(x + i); VAEI_STORE(y + i, expression); } \
    }
#if VAEI_PASS != VAEI_PASS_AVX512       /* which takes AVX2's */
MATH_PROBE(probe_exp, VAEI_NAME(vaei_exp)(v))
MATH_PROBE(probe_exp_negative, VAEI_NAME(vaei_exp_negative)(v))
MATH_PROBE(probe_log1p, VAEI_NAME(vaei_plus_log1p)(VAEI_SET(0), v))
MATH_PROBE(probe_expm1, VAEI_NAME(vaei_expm1)(v, VAEI_NAME(vaei_exp)(v) - VAEI_SET(1), 0))
MATH_PROBE(probe_expm1_minus, VAEI_NAME(vaei_expm1)(v, VAEI_NAME(vaei_exp)(v) - VAEI_SET(1), 1))
#ifndef VAE_DOUBLE
MATH_PROBE(probe_log, VAEI_NAME(vaei_log)(v))
#endif
#endif
MATH_PROBE(probe_sqrt, VAEI_SQRT(v))
