/* test_golden.c in double, to the golden figures' last digits. */
#define VAE_DOUBLE
#include "test_golden.c"
