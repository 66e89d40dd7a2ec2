#!/usr/bin/env python3
"""A copy of vae.h whose pieces of a model's memory lie apart, for tests/gaps.c under AddressSanitizer.

A model is one block, so that the sanitizer does not see an array run into the next one. In this copy 256 bytes that
nobody may touch follow every piece: of the block, of the workspace and of each worker's slot.

    python3 tests/gaps.py FOLDER      writes FOLDER/vae.h and FOLDER/tests
"""
import os
import shutil
import sys

if len(sys.argv) != 2:
    sys.exit(__doc__.strip())

# Each place in vae.h, and what takes its place.
CHANGES = [
    ('VAEI_PRIVATE void *vaei_take(vaei_arena *arena, size_t count, size_t size) {\n', '''
#include <sanitizer/asan_interface.h>
enum { GAP = 256, GAPS = 4096 };
typedef struct gap_list { const vaei_arena *arena; size_t from[GAPS], to[GAPS]; int count; } gap_list;
static gap_list gaps_of_workspace, gaps_of_slot;        /* counted from their beginnings */
static void watch_gap(const vaei_arena *arena, gap_list *list, size_t from) {
    if (arena != list->arena || list->count == GAPS) return;
    list->from[list->count] = from;
    list->to[list->count++] = arena->used;
}
static void close_gaps(const gap_list *list, const void *base) {
    int i;
    for (i = 0; i < list->count; i++)
        __asan_poison_memory_region((const char *)base + list->from[i], list->to[i] - list->from[i]);
}
VAEI_PRIVATE void *vaei_take(vaei_arena *arena, size_t count, size_t size) {
    const size_t taken = vaei_plus(arena->used, vaei_times(count, size));
'''),
    ('end = vaei_plus(vaei_plus(start, vaei_times(count, size)), VAEI_ALIGNMENT - 1);\n',
     'end = vaei_plus(taken, VAEI_ALIGNMENT - 1 + GAP);\n'),
    ('    return arena->base ? (void *)(arena->base + start) : NULL;\n', '''
    if (arena->used != VAEI_TOO_LARGE && arena->base)
        __asan_poison_memory_region(arena->base + taken, arena->used - taken);
    if (arena->used != VAEI_TOO_LARGE) watch_gap(arena, &gaps_of_workspace, taken);
    if (arena->used != VAEI_TOO_LARGE) watch_gap(arena, &gaps_of_slot, taken);
    return arena->base ? (void *)(arena->base + start) : NULL;
'''),
    ('    vaei_place_rows(&p);\n', '''
    gaps_of_workspace.arena = &p.workspace;
    gaps_of_slot.arena = &p.slot;
    gaps_of_workspace.count = gaps_of_slot.count = 0;
    vaei_place_rows(&p);
'''),
    ('    memset(arena.base, 0, needed - VAEI_ALIGNMENT);', '''
    __asan_unpoison_memory_region(memory, needed);
    memset(arena.base, 0, needed - VAEI_ALIGNMENT);'''),
    ('    model->bytes = needed;\n', '''
    gaps_of_workspace.arena = gaps_of_slot.arena = NULL;
    if (model->workspace) {
        int slot;
        close_gaps(&gaps_of_workspace, model->workspace);
        for (slot = 0; slot < model->plan.threads; slot++)
            close_gaps(&gaps_of_slot, model->workspace + model->plan.slot_base + (size_t)slot * model->plan.slot_size);
    }
    model->bytes = needed;
'''),
]

root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
folder = sys.argv[1]
with open(os.path.join(root, 'vae.h'), encoding='utf-8') as file:
    text = file.read()
for place, change in CHANGES:
    if text.count(place) != 1:
        sys.exit('tests/gaps.py: vae.h has this %d times, not once: %s' % (text.count(place), place.strip()))
    text = text.replace(place, change)
shutil.copytree(os.path.join(root, 'tests'), os.path.join(folder, 'tests'), dirs_exist_ok=True)
with open(os.path.join(folder, 'vae.h'), 'w', encoding='utf-8') as file:
    file.write(text)
