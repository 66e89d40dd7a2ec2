/* memory.c - the functions of include/string.h. Compiled with -fno-builtin, or the compiler would see that these loops
   are memcpy and strlen, and make them call themselves. */
#include <string.h>

void *memcpy(void *to, const void *from, size_t size) {
    char       *t = to;
    const char *f = from;
    while (size--) *t++ = *f++;
    return to;
}

void *memmove(void *to, const void *from, size_t size) {
    char       *t = to;
    const char *f = from;
    if (t < f) return memcpy(to, from, size);
    while (size--) t[size] = f[size];
    return to;
}

void *memset(void *to, int byte, size_t size) {
    char *t = to;
    while (size--) *t++ = (char)byte;
    return to;
}

int memcmp(const void *a, const void *b, size_t size) {
    const unsigned char *p = a, *q = b;
    for (; size--; p++, q++)
        if (*p != *q) return *p < *q ? -1 : 1;
    return 0;
}

void *memchr(const void *bytes, int byte, size_t size) {
    const unsigned char *b = bytes;
    for (; size--; b++)
        if (*b == (unsigned char)byte) return (void *)b;
    return NULL;
}

size_t strlen(const char *text) {
    size_t length = 0;
    while (text[length]) length++;
    return length;
}

int strcmp(const char *a, const char *b) {
    while (*a && *a == *b) a++, b++;
    return (unsigned char)*a - (unsigned char)*b;
}

int strncmp(const char *a, const char *b, size_t size) {
    for (; size && *a && *a == *b; size--) a++, b++;
    return size ? (unsigned char)*a - (unsigned char)*b : 0;
}

char *strchr(const char *text, int letter) {
    for (; *text != (char)letter; text++)
        if (!*text) return 0;
    return (char *)text;
}

char *strcpy(char *to, const char *from) {
    memcpy(to, from, strlen(from) + 1);
    return to;
}
