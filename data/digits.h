/* digits.h - draws digits that look handwritten, the same on every machine, with no library at all.

   How a digit comes about: one of its class's ways of writing it (a template) is chosen and morphed between two
   extremes; its control points tremble; smooth curves are laid through them and bent by a slow wave, slanted, turned
   and stretched; the whole is scaled to a box of 20 x 20 pixels and centred by its mass as MNIST is, and drawn with a
   pen whose width wanders a little. Image i depends on the seed, the part and i alone, so fewer images are a prefix of
   more. */
#ifndef DIGITS_H
#define DIGITS_H

#include <stddef.h>
#include <stdint.h>

enum { SIDE = 28, PIXELS = SIDE * SIDE, MOST_POINTS = 640, MOST_CONTROLS = 24 };

/* ------------------------------------------------------------------------------------------ numbers with a point */

typedef int64_t fixed; /* 16 bits behind the point */

#define ONE ((fixed)65536)
#define HUNDREDTHS(n) ((fixed)(n)*65536 / 100)

/* Division, not a shift: C leaves open what shifting a negative number right does. */
static fixed multiply(fixed a, fixed b) { return a * b / ONE; }
static fixed divide(fixed a, fixed b) { return a * ONE / b; }

static int64_t square_root(int64_t square) {
    int64_t root = 0;
    for (int64_t bit = (int64_t)1 << 30; bit; bit /= 2) {
        int64_t larger = root + bit;
        if (larger <= square / larger) root = larger;
    }
    return root;
}

static fixed length_of(fixed x, fixed y) { return square_root(x * x + y * y); }

/* Sine of a fraction of a full turn, to about 0.0001. */
static fixed sine(fixed turns) {
    fixed phase = turns % ONE, sign = 1, x, square;
    if (phase < 0) phase += ONE;
    if (phase >= ONE / 2) phase -= ONE / 2, sign = -1;
    if (phase > ONE / 4) phase = ONE / 2 - phase;
    x = 4 * phase;
    square = multiply(x, x);
    return sign * multiply(x, 102932 - multiply(square, 42155 - multiply(square, 4765)));
}

static fixed cosine(fixed turns) { return sine(turns + ONE / 4); }

/* ------------------------------------------------------------------------------------------------ random numbers */

/* SplitMix64. Two draws never stand in one expression: C leaves open which of them would come first. */
static uint64_t scramble(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t draw(uint64_t *state) { return scramble(*state += 0x9e3779b97f4a7c15u); }

static fixed uniform(uint64_t *state, fixed low, fixed high) {
    return low + multiply(high - low, (fixed)(draw(state) >> 48));
}

/* Nearly normal, and never beyond three and a half deviations: the sum of four uniforms. */
static fixed normal(uint64_t *state, fixed deviation) {
    uint64_t bits = draw(state);
    fixed    sum = 0;
    for (int i = 0; i < 4; i++) sum += (fixed)(bits >> (16 * i) & 0xffff);
    return multiply(multiply(sum - 2 * ONE, 113512), deviation); /* times the square root of 3 */
}

static int below(uint64_t *state, unsigned limit) { return (int)((draw(state) >> 32) % limit); }

static int chance(uint64_t *state, int percent) { return below(state, 100) < percent; }

/* ----------------------------------------------------------------------------------------------------- templates */

/* A control point between two extremes, in hundredths of the digit's height, y downwards. */
typedef enum { GO, TURN, START } passage; /* pass smoothly; turn sharply here; begin a new stroke */
typedef struct {
    signed char passage, x0, y0, x1, y1;
} control;

static const control zero_round[] = { { START, 46, 3, 50, 2 }, { GO, 24, 14, 16, 14 }, { GO, 12, 48, -6, 50 },
                                      { GO, 18, 86, 8, 84 },   { GO, 36, 98, 40, 98 }, { GO, 58, 84, 76, 82 },
                                      { GO, 64, 48, 86, 46 },  { GO, 55, 16, 70, 12 }, { GO, 36, 4, 38, 2 } };
static const control zero_tail[] = { { START, 64, 16, 70, 8 }, { GO, 40, 2, 40, 4 },   { GO, 12, 28, 6, 30 },
                                     { GO, 6, 68, -2, 66 },    { GO, 28, 98, 26, 96 }, { GO, 60, 82, 72, 80 },
                                     { GO, 72, 42, 84, 38 },   { GO, 54, 8, 60, 6 },   { GO, 30, 12, 26, -2 },
                                     { GO, 42, 26, 4, 14 } };
static const control zero_clockwise[] = { { START, 20, 18, 10, 8 }, { GO, 48, 3, 40, 2 },   { GO, 72, 30, 78, 26 },
                                          { GO, 70, 72, 82, 66 },   { GO, 42, 98, 44, 97 }, { GO, 12, 80, 4, 84 },
                                          { GO, 6, 44, -6, 50 },    { GO, 22, 12, 10, 20 }, { GO, 44, 4, 30, 2 } };

static const control one_stick[] = { { START, 34, 0, 30, 0 }, { GO, 32, 48, 34, 52 }, { GO, 30, 100, 30, 100 } };
static const control one_flag[] = { { START, 12, 22, 2, 32 },
                                    { GO, 24, 14, 20, 20 },
                                    { TURN, 36, 0, 38, 0 },
                                    { GO, 35, 50, 37, 48 },
                                    { GO, 34, 100, 36, 100 } };
static const control one_foot[] = { { START, 14, 20, 4, 30 }, { TURN, 36, 1, 36, 0 },  { GO, 35, 50, 37, 50 },
                                    { GO, 36, 98, 34, 99 },   { START, 8, 98, 2, 96 }, { GO, 34, 97, 36, 99 },
                                    { GO, 64, 98, 70, 98 } };

static const control two_plain[] = { { START, 8, 22, 2, 14 }, { GO, 30, 2, 28, 4 },   { GO, 58, 14, 64, 18 },
                                     { GO, 56, 40, 60, 48 },  { GO, 34, 70, 32, 78 }, { TURN, 4, 97, -2, 98 },
                                     { GO, 36, 95, 40, 94 },  { GO, 74, 95, 82, 98 } };
static const control two_loop[] = { { START, 8, 18, 12, 26 }, { GO, 36, 1, 40, 2 },   { GO, 62, 20, 68, 24 },
                                    { GO, 50, 54, 54, 56 },   { GO, 24, 90, 22, 92 }, { GO, 4, 92, -2, 88 },
                                    { GO, 10, 76, 8, 70 },    { GO, 34, 84, 34, 84 }, { GO, 54, 97, 60, 96 },
                                    { GO, 80, 88, 90, 80 } };
static const control two_angular[] = { { START, 4, 12, 8, 6 }, { GO, 30, 3, 34, 4 },   { GO, 60, 12, 62, 8 },
                                       { GO, 46, 48, 52, 36 }, { GO, 22, 78, 24, 74 }, { TURN, 2, 96, 4, 98 },
                                       { GO, 32, 92, 38, 97 }, { GO, 60, 98, 66, 96 }, { GO, 76, 92, 80, 95 } };

static const control three_round[] = { { START, 8, 14, 2, 10 }, { GO, 34, 1, 32, 2 },     { GO, 58, 18, 60, 20 },
                                       { GO, 44, 42, 46, 42 },  { TURN, 22, 48, 24, 47 }, { GO, 48, 52, 52, 52 },
                                       { GO, 64, 74, 70, 74 },  { GO, 42, 98, 40, 98 },   { GO, 2, 88, -8, 92 } };
static const control three_flat[] = { { START, 6, 6, 4, 4 },    { GO, 32, 5, 34, 3 },   { TURN, 62, 3, 62, 6 },
                                      { TURN, 28, 42, 34, 38 }, { GO, 54, 52, 60, 50 }, { GO, 60, 78, 68, 74 },
                                      { GO, 34, 98, 36, 98 },   { GO, 2, 92, -4, 86 } };
static const control three_curl[] = { { START, 12, 10, 4, 18 }, { GO, 38, 1, 36, 1 },   { GO, 58, 16, 64, 18 },
                                      { GO, 44, 40, 48, 42 },   { GO, 22, 49, 20, 50 }, { GO, 22, 40, 18, 38 },
                                      { GO, 42, 48, 44, 50 },   { GO, 64, 70, 66, 74 }, { GO, 46, 97, 42, 98 },
                                      { GO, 10, 92, 0, 90 } };

static const control four_open[] = { { START, 14, 4, 10, 8 }, { GO, 10, 26, 4, 30 },   { TURN, 6, 52, 0, 56 },
                                     { GO, 32, 54, 34, 54 },  { GO, 74, 50, 76, 46 },  { START, 58, 2, 64, 8 },
                                     { GO, 54, 50, 56, 52 },  { GO, 52, 100, 48, 100 } };
static const control four_closed[] = { { START, 54, 2, 56, 2 }, { GO, 30, 32, 28, 34 },  { TURN, 2, 64, -2, 62 },
                                       { GO, 36, 63, 38, 62 },  { GO, 76, 62, 78, 60 },  { START, 54, 2, 55, 3 },
                                       { GO, 53, 50, 51, 52 },  { GO, 52, 100, 46, 100 } };
static const control four_one_stroke[] = { { START, 8, 2, 16, 0 }, { GO, 2, 28, 4, 26 },    { GO, 8, 50, 10, 48 },
                                           { GO, 34, 52, 34, 50 }, { GO, 54, 32, 58, 28 },  { TURN, 62, 4, 66, 2 },
                                           { GO, 56, 52, 54, 50 }, { GO, 48, 100, 40, 100 } };

static const control five_two_strokes[] = { { START, 20, 4, 22, 6 }, { GO, 16, 24, 16, 26 },  { TURN, 12, 46, 10, 44 },
                                            { GO, 38, 42, 42, 42 },  { GO, 62, 66, 64, 68 },  { GO, 42, 96, 38, 97 },
                                            { GO, 4, 92, -8, 92 },   { START, 20, 5, 20, 8 }, { GO, 44, 4, 48, 3 },
                                            { GO, 70, 2, 80, -2 } };
static const control five_one_stroke[] = { { START, 68, 2, 76, 4 }, { GO, 44, 4, 46, 2 },    { TURN, 20, 6, 22, 6 },
                                           { GO, 16, 26, 14, 26 },  { TURN, 10, 46, 8, 46 }, { GO, 38, 43, 42, 44 },
                                           { GO, 62, 68, 62, 70 },  { GO, 40, 97, 36, 97 },  { GO, 2, 90, -6, 86 } };
static const control five_flowing[] = { { START, 72, 4, 84, 0 }, { GO, 46, 4, 46, 6 },   { GO, 22, 12, 26, 14 },
                                        { GO, 16, 32, 18, 34 },  { GO, 36, 48, 38, 48 }, { GO, 56, 68, 54, 68 },
                                        { GO, 40, 95, 34, 97 },  { GO, 10, 94, 0, 94 },  { GO, -4, 80, -8, 80 } };

static const control six_curved[] = { { START, 48, 1, 58, 2 }, { GO, 22, 30, 24, 28 }, { GO, 6, 68, 2, 66 },
                                      { GO, 22, 97, 24, 98 },  { GO, 50, 88, 60, 86 }, { GO, 50, 62, 58, 60 },
                                      { GO, 28, 58, 30, 56 },  { GO, 8, 80, 8, 78 } };
static const control six_straight[] = { { START, 36, 0, 42, 0 }, { GO, 18, 36, 20, 34 }, { GO, 4, 74, 2, 72 },
                                        { GO, 20, 98, 26, 98 },  { GO, 46, 82, 56, 80 }, { GO, 36, 60, 42, 58 },
                                        { GO, 12, 76, 10, 78 },  { GO, 12, 90, 16, 92 } };
static const control six_hooked[] = { { START, 62, 12, 70, 10 }, { GO, 46, 2, 48, 2 },   { GO, 18, 26, 16, 24 },
                                      { GO, 6, 62, 0, 62 },      { GO, 18, 94, 18, 94 }, { GO, 44, 94, 52, 94 },
                                      { GO, 58, 72, 66, 70 },    { GO, 36, 56, 38, 54 }, { GO, 10, 70, 8, 68 } };

static const control seven_plain[] = { { START, 4, 10, 2, 6 },
                                       { GO, 30, 7, 32, 5 },
                                       { TURN, 64, 4, 66, 6 },
                                       { GO, 46, 46, 48, 40 },
                                       { GO, 28, 100, 22, 100 } };
static const control seven_bar[] = { { START, 2, 8, 4, 4 },  { GO, 30, 6, 32, 6 },     { TURN, 62, 4, 68, 3 },
                                     { GO, 46, 46, 46, 44 }, { GO, 30, 100, 20, 100 }, { START, 18, 54, 14, 50 },
                                     { GO, 40, 50, 42, 49 }, { GO, 64, 48, 72, 46 } };
static const control seven_serif[] = { { START, 2, 28, 4, 22 }, { TURN, 6, 6, 4, 8 },   { GO, 34, 8, 34, 5 },
                                       { TURN, 66, 4, 64, 6 },  { GO, 46, 48, 52, 42 }, { GO, 38, 100, 36, 100 } };
static const control seven_curved[] = { { START, 2, 18, 0, 12 }, { GO, 18, 6, 18, 4 },   { GO, 48, 8, 46, 6 },
                                        { GO, 66, 8, 66, 12 },   { GO, 52, 40, 56, 44 }, { GO, 36, 70, 38, 74 },
                                        { GO, 30, 100, 30, 100 } };

static const control eight_flowing[] = { { START, 60, 14, 66, 10 }, { GO, 36, 1, 38, 2 },   { GO, 12, 20, 10, 22 },
                                         { GO, 34, 46, 36, 48 },    { GO, 60, 76, 60, 74 }, { GO, 32, 99, 30, 98 },
                                         { GO, 6, 78, 4, 78 },      { GO, 30, 50, 32, 52 }, { GO, 58, 24, 62, 26 },
                                         { GO, 52, 6, 58, 4 } };
static const control eight_two_loops[] = { { START, 34, 2, 36, 1 }, { GO, 14, 22, 12, 20 }, { GO, 32, 45, 34, 44 },
                                           { GO, 56, 24, 60, 20 },  { GO, 38, 2, 36, 1 },   { START, 32, 46, 36, 45 },
                                           { GO, 8, 70, 2, 72 },    { GO, 32, 99, 34, 99 }, { GO, 60, 74, 70, 70 },
                                           { GO, 34, 46, 38, 46 } };
static const control eight_slim[] = { { START, 46, 8, 52, 6 }, { GO, 30, 2, 34, 2 },   { GO, 18, 22, 16, 20 },
                                      { GO, 34, 50, 34, 48 },  { GO, 50, 80, 52, 78 }, { GO, 28, 99, 28, 99 },
                                      { GO, 10, 82, 6, 80 },   { GO, 28, 54, 30, 52 }, { GO, 48, 24, 54, 26 },
                                      { GO, 44, 4, 46, 2 } };

static const control nine_straight[] = { { START, 52, 14, 58, 16 }, { GO, 32, 2, 32, 4 },    { GO, 6, 26, 2, 28 },
                                         { GO, 24, 48, 26, 50 },    { GO, 50, 30, 54, 32 },  { TURN, 56, 8, 62, 8 },
                                         { GO, 54, 54, 56, 54 },    { GO, 52, 100, 46, 100 } };
static const control nine_curved[] = { { START, 54, 12, 60, 14 }, { GO, 32, 1, 34, 2 },   { GO, 8, 24, 4, 26 },
                                       { GO, 26, 48, 28, 48 },    { GO, 52, 32, 56, 32 }, { TURN, 58, 10, 62, 12 },
                                       { GO, 58, 58, 60, 56 },    { GO, 42, 94, 44, 92 }, { GO, 12, 94, 8, 94 } };
static const control nine_slanted[] = { { START, 56, 20, 60, 22 }, { GO, 38, 2, 42, 4 },    { GO, 10, 18, 10, 16 },
                                        { GO, 12, 42, 8, 42 },     { GO, 40, 40, 44, 38 },  { GO, 58, 18, 64, 16 },
                                        { GO, 46, 54, 48, 54 },    { GO, 30, 100, 22, 100 } };

typedef struct {
    const control *controls;
    int            count, percent; /* how much of the class is written this way */
} writing;

#define WRITING(name, percent)                                                                                         \
    { name, (int)(sizeof name / sizeof *name), percent }
static const writing writings[10][4] = {
    { WRITING(zero_round, 45), WRITING(zero_tail, 30), WRITING(zero_clockwise, 25), { NULL, 0, 0 } },
    { WRITING(one_stick, 80), WRITING(one_flag, 13), WRITING(one_foot, 7), { NULL, 0, 0 } },
    { WRITING(two_plain, 40), WRITING(two_loop, 38), WRITING(two_angular, 22), { NULL, 0, 0 } },
    { WRITING(three_round, 50), WRITING(three_flat, 22), WRITING(three_curl, 28), { NULL, 0, 0 } },
    { WRITING(four_open, 46), WRITING(four_closed, 20), WRITING(four_one_stroke, 34), { NULL, 0, 0 } },
    { WRITING(five_two_strokes, 40), WRITING(five_one_stroke, 35), WRITING(five_flowing, 25), { NULL, 0, 0 } },
    { WRITING(six_curved, 50), WRITING(six_straight, 28), WRITING(six_hooked, 22), { NULL, 0, 0 } },
    { WRITING(seven_plain, 42), WRITING(seven_bar, 16), WRITING(seven_serif, 16), WRITING(seven_curved, 26) },
    { WRITING(eight_flowing, 50), WRITING(eight_two_loops, 18), WRITING(eight_slim, 32), { NULL, 0, 0 } },
    { WRITING(nine_straight, 40), WRITING(nine_curved, 22), WRITING(nine_slanted, 38), { NULL, 0, 0 } },
};

/* ------------------------------------------------------------------------------------------------------- drawing */

/* A point of the pen's path; `starts` is 1 where the pen was lifted before it. */
typedef struct {
    fixed x, y, half_width;
    int   starts;
} pen_point;

typedef struct {
    pen_point points[MOST_POINTS];
    int       count;
} path;

static void add_point(path *drawn, fixed x, fixed y, int starts) {
    if (drawn->count == MOST_POINTS) return;
    drawn->points[drawn->count].x = x;
    drawn->points[drawn->count].y = y;
    drawn->points[drawn->count].half_width = 0;
    drawn->points[drawn->count].starts = starts;
    drawn->count++;
}

/* How fast the curve passes a point, per unit of the way along the chords: the slopes to both neighbours, the nearer
   one counting more. This keeps unevenly spaced points from making the curve swing out. */
static fixed slope(fixed before, fixed here, fixed after, fixed chord_before, fixed chord_after) {
    fixed both = chord_before + chord_after;
    return multiply(divide(here - before, chord_before), divide(chord_after, both)) +
           multiply(divide(after - here, chord_after), divide(chord_before, both));
}

/* A smooth curve through the points of one stroke (cubic Hermite pieces), broken where a point is a sharp turn. */
static void add_stroke(path *drawn, const fixed *x, const fixed *y, const int *sharp, int count) {
    fixed chord[MOST_CONTROLS];
    for (int i = 0; i + 1 < count; i++) {
        chord[i] = length_of(x[i + 1] - x[i], y[i + 1] - y[i]);
        if (chord[i] < ONE / 4) chord[i] = ONE / 4;
    }
    add_point(drawn, x[0], y[0], 1);
    for (int i = 0; i + 1 < count; i++) {
        int   in_smooth = i > 0 && !sharp[i], out_smooth = i + 2 < count && !sharp[i + 1];
        fixed from_x = x[i + 1] - x[i], from_y = y[i + 1] - y[i], to_x = from_x, to_y = from_y;
        int   steps = (int)(chord[i] / (4 * ONE)) + 1;
        if (in_smooth) {
            from_x = multiply(chord[i], slope(x[i - 1], x[i], x[i + 1], chord[i - 1], chord[i]));
            from_y = multiply(chord[i], slope(y[i - 1], y[i], y[i + 1], chord[i - 1], chord[i]));
        }
        if (out_smooth) {
            to_x = multiply(chord[i], slope(x[i], x[i + 1], x[i + 2], chord[i], chord[i + 1]));
            to_y = multiply(chord[i], slope(y[i], y[i + 1], y[i + 2], chord[i], chord[i + 1]));
        }
        /* An end of a piece that has no neighbour bends as the other end wants it, instead of being forced straight. */
        if (in_smooth && !out_smooth) {
            to_x = (3 * (x[i + 1] - x[i]) - from_x) / 2;
            to_y = (3 * (y[i + 1] - y[i]) - from_y) / 2;
        } else if (!in_smooth && out_smooth) {
            from_x = (3 * (x[i + 1] - x[i]) - to_x) / 2;
            from_y = (3 * (y[i + 1] - y[i]) - to_y) / 2;
        }
        for (int s = 1; s <= steps; s++) {
            fixed t = ONE * s / steps, t2 = multiply(t, t), t3 = multiply(t2, t);
            fixed blend = 3 * t2 - 2 * t3, leave = t3 - 2 * t2 + t, arrive = t3 - t2;
            add_point(drawn, x[i] + multiply(blend, x[i + 1] - x[i]) + multiply(leave, from_x) + multiply(arrive, to_x),
                      y[i] + multiply(blend, y[i + 1] - y[i]) + multiply(leave, from_y) + multiply(arrive, to_y), 0);
        }
    }
}

/* The digit's path in hundredths of its height, as the template and a trembling hand have it. */
static void write_digit(path *drawn, int digit, uint64_t *state) {
    const writing *chosen = writings[digit];
    int            pick = below(state, 100), rounded = chance(state, 35), count = 0;
    fixed          x[MOST_CONTROLS], y[MOST_CONTROLS], morph = uniform(state, -HUNDREDTHS(25), HUNDREDTHS(125));
    fixed          tremble = uniform(state, HUNDREDTHS(130), HUNDREDTHS(450));
    int            sharp[MOST_CONTROLS];
    drawn->count = 0;
    while (pick >= chosen->percent) pick -= chosen->percent, chosen++;
    for (int i = 0; i < chosen->count; i++) {
        const control *point = &chosen->controls[i];
        /* Points of one digit move together with `morph`, and each a little on its own. */
        fixed own = morph + normal(state, HUNDREDTHS(12));
        fixed shake_x = normal(state, tremble), shake_y = normal(state, tremble);
        if (point->passage == START && count > 0) {
            add_stroke(drawn, x, y, sharp, count);
            count = 0;
        }
        x[count] = ONE * point->x0 + (point->x1 - point->x0) * own + shake_x;
        y[count] = ONE * point->y0 + (point->y1 - point->y0) * own + shake_y;
        sharp[count++] = point->passage == TURN && (!rounded || digit == 1); /* a round 1 would be a 2 or a 7 */
    }
    add_stroke(drawn, x, y, sharp, count);
}

/* Bends, slants, turns and stretches the path. */
static void distort(path *drawn, int digit, uint64_t *state) {
    fixed wave[2][4]; /* for x and y: strength, frequencies along x and y in turns per hundredth, phase */
    fixed slant, turn, stretch, middle_x = 35 * ONE, middle_y = 50 * ONE, sin_turn, cos_turn;
    for (int k = 0; k < 2; k++) {
        wave[k][0] = normal(state, HUNDREDTHS(320));
        wave[k][1] = uniform(state, -HUNDREDTHS(1), HUNDREDTHS(1));
        wave[k][2] = uniform(state, -HUNDREDTHS(1), HUNDREDTHS(1));
        wave[k][3] = uniform(state, 0, ONE);
    }
    slant = HUNDREDTHS(23) + normal(state, digit == 1 ? HUNDREDTHS(30) : HUNDREDTHS(21));
    turn = normal(state, HUNDREDTHS(1) * 7 / 5);
    stretch = ONE * 107 / 100 + normal(state, HUNDREDTHS(14));
    sin_turn = sine(turn);
    cos_turn = cosine(turn);
    for (int i = 0; i < drawn->count; i++) {
        pen_point *point = &drawn->points[i];
        fixed      x = point->x, y = point->y, along_x, along_y;
        along_x = multiply(wave[0][1], x) + multiply(wave[0][2], y) + wave[0][3];
        along_y = multiply(wave[1][1], x) + multiply(wave[1][2], y) + wave[1][3];
        x += multiply(wave[0][0], sine(along_x)) - middle_x;
        y += multiply(wave[1][0], sine(along_y)) - middle_y;
        x = multiply(x, stretch) - multiply(y, slant);
        point->x = multiply(x, cos_turn) - multiply(y, sin_turn);
        point->y = multiply(x, sin_turn) + multiply(y, cos_turn);
    }
}

/* Scales to the 20 x 20 box, with its corner at 0, in pixels, and gives the pen its width. */
static void fit(path *drawn, fixed width, fixed softness, uint64_t *state) {
    fixed left = drawn->points[0].x, right = left, top = drawn->points[0].y, bottom = top, extent, scale, way = 0;
    fixed margin = (width + softness) / 2;
    fixed wander = uniform(state, 0, HUNDREDTHS(25)), phase = uniform(state, 0, ONE);
    fixed pace = uniform(state, HUNDREDTHS(2), HUNDREDTHS(6));
    for (int i = 1; i < drawn->count; i++) {
        const pen_point *point = &drawn->points[i];
        if (point->x < left) left = point->x;
        if (point->x > right) right = point->x;
        if (point->y < top) top = point->y;
        if (point->y > bottom) bottom = point->y;
    }
    extent = right - left > bottom - top ? right - left : bottom - top;
    scale = divide(20 * ONE - 2 * margin, extent);
    for (int i = 0; i < drawn->count; i++) {
        pen_point *point = &drawn->points[i];
        point->x = multiply(point->x - left, scale) + margin;
        point->y = multiply(point->y - top, scale) + margin;
        if (i > 0 && !point->starts) way += length_of(point->x - point[-1].x, point->y - point[-1].y);
        point->half_width = multiply(width / 2, ONE + multiply(wander, sine(phase + multiply(way, pace))));
        point->half_width += multiply(point->half_width, normal(state, HUNDREDTHS(7))); /* paper is rough */
    }
}

/* Moves the path so that the ink, seen drawn in `image`, has its centre where MNIST has it: in the middle of the pixel
   right below the image's middle. Where the digit is so lopsided that it would leave the image, it stays at its edge.
 */
static void centre(path *drawn, const unsigned char *image, fixed margin) {
    fixed mass = 0, mass_x = 0, mass_y = 0, left = SIDE * ONE, right = 0, top = SIDE * ONE, bottom = 0, move_x, move_y;
    for (int y = 0; y < SIDE; y++) {
        for (int x = 0; x < SIDE; x++) {
            fixed ink = image[y * SIDE + x];
            mass += ink;
            mass_x += ink * x;
            mass_y += ink * y;
        }
    }
    for (int i = 0; i < drawn->count; i++) {
        const pen_point *point = &drawn->points[i];
        if (point->x - margin < left) left = point->x - margin;
        if (point->x + margin > right) right = point->x + margin;
        if (point->y - margin < top) top = point->y - margin;
        if (point->y + margin > bottom) bottom = point->y + margin;
    }
    move_x = SIDE / 2 * ONE - ONE * mass_x / mass;
    move_y = SIDE / 2 * ONE - ONE * mass_y / mass;
    if (move_x > SIDE * ONE - right) move_x = SIDE * ONE - right;
    if (move_y > SIDE * ONE - bottom) move_y = SIDE * ONE - bottom;
    if (move_x < -left) move_x = -left;
    if (move_y < -top) move_y = -top;
    for (int i = 0; i < drawn->count; i++) {
        drawn->points[i].x += move_x;
        drawn->points[i].y += move_y;
    }
}

/* What drawing looks up: square roots, and how grey a pixel is at what depth within the pen's soft edge. */
enum { ROOTS = 1024, ROOT_STEP = 1024, RAMP = 256 };
typedef struct {
    int32_t       root[ROOTS]; /* of i * ROOT_STEP, arguments and results in (256ths of pixels) squared and plain */
    unsigned char grey[RAMP + 1];
} tables;

static void make_tables(tables *made) {
    for (int i = 0; i < ROOTS; i++) made->root[i] = (int32_t)square_root((int64_t)i * ROOT_STEP + ROOT_STEP / 2);
    for (int i = 0; i <= RAMP; i++)
        made->grey[i] = (unsigned char)((int64_t)255 * i * i * (3 * RAMP - 2 * i) / (RAMP * RAMP * RAMP));
}

/* Every pixel is as deep inside the ink as its centre is within the nearest piece of the path, the pen's edge being a
   ramp as wide as `softness`. Places are 256ths of pixels here: fine enough, and products stay small. */
static void rasterise(const path *drawn, fixed softness, const tables *looked_up, unsigned char *image) {
    int32_t depth[PIXELS] = { 0 };
    int64_t soft = softness / 256;
    for (int i = 1; i < drawn->count; i++) {
        const pen_point *from = &drawn->points[i - 1], *to = &drawn->points[i];
        int64_t          x0, y0, x1, y1, along_x, along_y, square, half0, half1, reach;
        int              first_x, last_x, first_y, last_y;
        if (to->starts) continue;
        x0 = from->x / 256, y0 = from->y / 256, x1 = to->x / 256, y1 = to->y / 256;
        half0 = from->half_width / 256 + soft / 2;
        half1 = to->half_width / 256 + soft / 2;
        along_x = x1 - x0, along_y = y1 - y0;
        square = along_x * along_x + along_y * along_y;
        reach = half0 > half1 ? half0 : half1;
        first_x = (int)(((x0 < x1 ? x0 : x1) - reach) / 256);
        first_y = (int)(((y0 < y1 ? y0 : y1) - reach) / 256);
        last_x = (int)(((x0 > x1 ? x0 : x1) + reach) / 256);
        last_y = (int)(((y0 > y1 ? y0 : y1) + reach) / 256);
        if (first_x < 0) first_x = 0;
        if (first_y < 0) first_y = 0;
        if (last_x > SIDE - 1) last_x = SIDE - 1;
        if (last_y > SIDE - 1) last_y = SIDE - 1;
        for (int py = first_y; py <= last_y; py++) {
            for (int px = first_x; px <= last_x; px++) {
                int64_t to_x = 256 * px + 128 - x0, to_y = 256 * py + 128 - y0;
                int64_t dot = to_x * along_x + to_y * along_y, fraction = 0, distance, inside;
                if (dot >= square)
                    fraction = 256; /* also where the piece has no length */
                else if (dot > 0)
                    fraction = 256 * dot / square;
                to_x -= along_x * fraction / 256;
                to_y -= along_y * fraction / 256;
                distance = (to_x * to_x + to_y * to_y) / ROOT_STEP;
                if (distance >= ROOTS) continue;
                inside = half0 + (half1 - half0) * fraction / 256 - looked_up->root[distance];
                if (inside > depth[py * SIDE + px]) depth[py * SIDE + px] = (int32_t)inside;
            }
        }
    }
    for (int i = 0; i < PIXELS; i++) {
        int64_t step = depth[i] * RAMP / soft;
        image[i] = looked_up->grey[step < RAMP ? step : RAMP];
    }
}

/* Image `index` of part 0 (training) or 1 (test); returns its label. */
static int draw_digit(uint64_t seed, int part, uint64_t index, const tables *looked_up, unsigned char *image) {
    uint64_t state = scramble(scramble(seed + 0x9e3779b97f4a7c15u * (uint64_t)(part + 1)) + index);
    int      digit = below(&state, 10);
    fixed    width, softness;
    path     drawn;
    write_digit(&drawn, digit, &state);
    distort(&drawn, digit, &state);
    width = HUNDREDTHS(260) + normal(&state, HUNDREDTHS(68));
    if (width < HUNDREDTHS(120)) width = HUNDREDTHS(120);
    if (width > HUNDREDTHS(420)) width = HUNDREDTHS(420); /* loops would fill */
    softness = uniform(&state, HUNDREDTHS(110), HUNDREDTHS(160));
    fit(&drawn, width, softness, &state);
    rasterise(&drawn, softness, looked_up, image);
    centre(&drawn, image, (width + softness) / 2);
    rasterise(&drawn, softness, looked_up, image);
    return digit;
}

#endif
