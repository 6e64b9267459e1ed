/*
 * constraints.h
 *	  Bounds, and which of two is the tighter (docs/policy-language.md,
 *	  section 5).
 *
 * Values are immutable once built; merging shares what it can and allocates the
 * rest in the current memory context.
 */
#ifndef POLICY_CONSTRAINTS_H
#define POLICY_CONSTRAINTS_H

#include "utils/jsonb.h"

#include "engine/arena.h"
#include "language/constraint_key.h"
#include "language/yaml.h"

typedef enum PolicyConstraintKind
{
	CONSTRAINT_NULL,
	CONSTRAINT_BOOLEAN,
	CONSTRAINT_NUMBER,
	CONSTRAINT_STRING,
	CONSTRAINT_ARRAY,
	CONSTRAINT_OBJECT
} PolicyConstraintKind;

typedef struct PolicyConstraint PolicyConstraint;

typedef struct PolicyConstraintPair
{
	const char *name;
	int			len;
	PolicyConstraintKey key;
	const PolicyConstraint *value;
} PolicyConstraintPair;

struct PolicyConstraint
{
	PolicyConstraintKind kind;
	uint32		hash;			/* equal values have equal hashes */
	union
	{
		bool		boolean;
		Numeric		number;
		struct
		{
			const char *bytes;
			int			len;
		}			string;
		struct
		{
			const PolicyConstraint **items;
			int			count;
		}			array;
		struct
		{
			PolicyConstraintPair *pairs;	/* sorted by name, each name once */
			int			count;
		}			object;
	}			u;
};

/* A checked node as a value; copies everything into the arena. */
extern const PolicyConstraint *constraint_from_node(const PolicyNode *node, PolicyArena *arena);

/* A jsonb object as a value; points into it. */
extern const PolicyConstraint *constraint_from_jsonb(Jsonb *object);

/* The built-in defaults: {"max_runtime_sec": 60, "max_retries": 1}. */
extern const PolicyConstraint *constraint_builtin_defaults(void);

extern const PolicyConstraint *constraint_empty(void);

/* Two objects merged: the tighter wins, key by key; high has the higher standing. */
extern const PolicyConstraint *constraint_merge(const PolicyConstraint *high, const PolicyConstraint *low);

/* The object with what it does not set filled from defaults, recursively. */
extern const PolicyConstraint *constraint_fill(const PolicyConstraint *object,
											   const PolicyConstraint *defaults);

/* Whether jsonb would call them equal. */
extern bool constraint_equal(const PolicyConstraint *a, const PolicyConstraint *b);

extern Jsonb *constraint_to_jsonb(const PolicyConstraint *value);

#endif							/* POLICY_CONSTRAINTS_H */
