/* What vae.h needs of <string.h>, where there is no C library. memory.c has the functions. */
#ifndef WEB_STRING_H
#define WEB_STRING_H

#include <stddef.h>

void  *memcpy(void *to, const void *from, size_t size);
void  *memmove(void *to, const void *from, size_t size);
void  *memset(void *to, int byte, size_t size);
int    memcmp(const void *a, const void *b, size_t size);
void  *memchr(const void *bytes, int byte, size_t size);
size_t strlen(const char *text);
int    strcmp(const char *a, const char *b);
int    strncmp(const char *a, const char *b, size_t size);
char  *strchr(const char *text, int letter);
char  *strcpy(char *to, const char *from);

#endif
