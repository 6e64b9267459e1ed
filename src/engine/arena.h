/*
 * arena.h
 *	  Memory for what is built once and freed together.
 *
 * Pieces are laid side by side in large blocks, with no header each and nothing
 * rounded up: a compiled policy is tens of thousands of small ones.
 */
#ifndef POLICY_ARENA_H
#define POLICY_ARENA_H

#include "utils/palloc.h"

typedef struct PolicyArena
{
	MemoryContext context;		/* of the blocks */
	char	   *next;
	Size		left;
	Size		block_size;		/* of the next block; grows */
} PolicyArena;

extern void policy_arena_init(PolicyArena *arena, MemoryContext context);

/* Zeroed, aligned for anything.  Without an arena (NULL) it is palloc0's. */
extern void *policy_arena_alloc(PolicyArena *arena, Size size);

/* A copy of bytes, followed by a NUL; not aligned. */
extern char *policy_arena_string(PolicyArena *arena, const char *bytes, Size len);

/* A text, followed by a NUL that does not count. */
extern text *policy_arena_text(PolicyArena *arena, const char *bytes, Size len);

/* A copy, aligned for anything. */
extern void *policy_arena_copy(PolicyArena *arena, const void *bytes, Size size);

/* A copy of a varlena, with the header that it has. */
extern void *policy_arena_varlena(PolicyArena *arena, const void *varlena);

#endif							/* POLICY_ARENA_H */
