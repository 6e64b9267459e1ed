/*
 * arena.c
 *	  Memory for what is built once and freed together.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "compat.h"
#include "engine/arena.h"

#define FIRST_BLOCK (4 * 1024)
#define LARGEST_BLOCK (256 * 1024)

void
policy_arena_init(PolicyArena *arena, MemoryContext context)
{
	memset(arena, 0, sizeof(PolicyArena));
	arena->context = context;
	arena->block_size = FIRST_BLOCK;
}

static void
add_block(PolicyArena *arena, Size size)
{
	Size		block = Max(arena->block_size, size);

	arena->next = MemoryContextAllocHuge(arena->context, block);
	arena->left = block;
	arena->block_size = Min(arena->block_size * 2, LARGEST_BLOCK);
}

static char *
take(PolicyArena *arena, Size size)
{
	char	   *piece = arena->next;

	arena->next += size;
	arena->left -= size;
	return piece;
}

static void *
take_aligned(PolicyArena *arena, Size size)
{
	Size		skip = arena->next == NULL ? 0 :
	(Size) (MAXALIGN((uintptr_t) arena->next) - (uintptr_t) arena->next);

	if (arena->left < skip + size)
	{
		add_block(arena, size);
		skip = 0;
	}
	(void) take(arena, skip);
	return take(arena, size);
}

void *
policy_arena_alloc(PolicyArena *arena, Size size)
{
	if (arena == NULL)
		return palloc0(size);
	return memset(take_aligned(arena, size), 0, size);
}

void *
policy_arena_copy(PolicyArena *arena, const void *bytes, Size size)
{
	return memcpy(arena == NULL ? palloc(size) : take_aligned(arena, size), bytes, size);
}

char *
policy_arena_string(PolicyArena *arena, const char *bytes, Size len)
{
	char	   *copy;

	if (arena == NULL)
		return pnstrdup(bytes, len);
	if (arena->left < len + 1)
		add_block(arena, len + 1);
	copy = take(arena, len + 1);
	memcpy(copy, bytes, len);
	copy[len] = '\0';
	return copy;
}

text *
policy_arena_text(PolicyArena *arena, const char *bytes, Size len)
{
	text	   *result = policy_arena_alloc(arena, VARHDRSZ + len + 1);

	SET_VARSIZE(result, VARHDRSZ + len);
	memcpy(VARDATA(result), bytes, len);
	return result;
}

void *
policy_arena_varlena(PolicyArena *arena, const void *varlena)
{
	return policy_arena_copy(arena, varlena, VARSIZE_ANY(varlena));
}
