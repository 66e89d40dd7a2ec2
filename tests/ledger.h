/* An allocator for the tests that counts what it gave and can refuse. After vae.h. */
#ifndef LEDGER_H
#define LEDGER_H

#include <stdlib.h>
#include <string.h>

typedef struct ledger {
    size_t calls, live, bytes;      /* so far; blocks and bytes not yet released */
    size_t fail_at, largest;        /* the number of the call that fails, from 1; the largest block given; 0: neither */
    int    mismatched;              /* a block came back with another size */
} ledger;

enum { LEDGER_HEAD = 16 };          /* the size stands before each block, which malloc aligns and nothing more */

static inline void *ledger_allocate(void *user, size_t size) {
    ledger *l = (ledger *)user;
    size_t *block;
    if (++l->calls == l->fail_at || (l->largest && size > l->largest)) return NULL;
    block = (size_t *)malloc(size + LEDGER_HEAD);
    if (!block) return NULL;
    block[0] = size;
    l->live++;
    l->bytes += size;
    return (char *)block + LEDGER_HEAD;
}

static inline void ledger_release(void *user, void *block, size_t size) {
    ledger *l = (ledger *)user;
    size_t *start = (size_t *)(void *)((char *)block - LEDGER_HEAD);
    if (start[0] != size) l->mismatched = 1;
    l->live--;
    l->bytes -= start[0];
    free(start);
}

/* With an empty ledger. */
static inline vae_allocator ledger_allocator(ledger *l) {
    vae_allocator allocator;
    memset(l, 0, sizeof *l);
    allocator.allocate = ledger_allocate;
    allocator.release = ledger_release;
    allocator.user = l;
    return allocator;
}

#endif
