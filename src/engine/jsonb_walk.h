/*
 * jsonb_walk.h
 *	  One pass over a jsonb object or array, without a look-up or an allocation for
 *	  each entry.
 *
 * Nested containers come as jbvBinary; strings and numbers point into the jsonb.
 */
#ifndef POLICY_JSONB_WALK_H
#define POLICY_JSONB_WALK_H

#include "utils/jsonb.h"

typedef struct JsonbWalk
{
	JsonbContainer *container;
	const char *base;			/* where offsets count from */
	uint32		count;			/* of pairs, or of elements */
	uint32		next;
	uint32		key_offset;
	uint32		value_offset;
} JsonbWalk;

extern void jsonb_walk_object(JsonbWalk *walk, JsonbContainer *object);
extern void jsonb_walk_array(JsonbWalk *walk, JsonbContainer *array);

/* The next pair, in jsonb's order: shorter keys first, then by bytes. */
extern bool jsonb_walk_pair(JsonbWalk *walk, const char **key, int *keylen, JsonbValue *value);

/* The next element. */
extern bool jsonb_walk_element(JsonbWalk *walk, JsonbValue *value);

#endif							/* POLICY_JSONB_WALK_H */
