/* shapes.h - pictures to learn where there are none: discs, squares and triangles of any colour on a darker one. */
#ifndef SHAPES_H
#define SHAPES_H

#include <stdint.h>
#include <stdlib.h>

/* count x side x side x 3 bytes, where side is at least 6; release with free(). NULL: not enough memory. */
static inline unsigned char *draw_shapes(size_t count, int side) {
    unsigned char *const all = (unsigned char *)malloc(count * (size_t)side * (size_t)side * 3);
    unsigned char       *pixels = all;
    uint32_t             random = 12345;
    size_t   i, k;
    int      x, y, c, numbers[10];
    for (i = 0; all && i < count; i++) {
        int radius, left, top;
        for (k = 0; k < 10; k++) numbers[k] = (int)((random = random * 1664525u + 1013904223u) >> 16);
        radius = side / 6 + numbers[0] % (side / 6 + 1);
        left = radius + numbers[1] % (side - 2 * radius);
        top = radius + numbers[2] % (side - 2 * radius);
        for (y = 0; y < side; y++)
            for (x = 0; x < side; x++) {
                const int across = abs(x - left), down = y - top, kind = numbers[3] % 3;
                const int inside = kind == 0 ? across * across + down * down <= radius * radius
                                 : kind == 1 ? across <= radius && abs(down) <= radius
                                             : abs(down) <= radius && 2 * across <= down + radius;
                for (c = 0; c < 3; c++)
                    *pixels++ = (unsigned char)(inside ? 80 + numbers[4 + c] % 176 : numbers[7 + c] % 80);
            }
    }
    return all;
}

#endif
